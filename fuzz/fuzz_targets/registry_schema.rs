#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sundown_fuzz::run("registry_schema", data));
