//! Properties of librdkafka on the command line.

use std::ffi::OsStr;

use clap::builder::{StringValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, Command, Error};

/// A property and its value, or the file of its value.
pub type Property = (String, String);

const PROPERTY_FILE: &str = "--property-file KEY=FILE";
/// The properties with a secret value, and the flag that takes each from a file.
const SECRETS: [(&str, &str); 8] = [
    ("sasl.password", "--sasl-password-file FILE"),
    ("ssl.key.pem", "--tls-key-file FILE"),
    ("ssl.key.password", PROPERTY_FILE),
    ("ssl.keystore.password", PROPERTY_FILE),
    (
        "sasl.oauthbearer.client.secret",
        "--oauth-client-secret-file FILE",
    ),
    ("sasl.oauthbearer.config", PROPERTY_FILE),
    ("sasl.oauthbearer.assertion.private.key.pem", PROPERTY_FILE),
    (
        "sasl.oauthbearer.assertion.private.key.passphrase",
        PROPERTY_FILE,
    ),
];

/// Parses `KEY=VALUE`. Its errors never contain the text, which may be a part of a secret, and
/// which clap's own errors would show.
#[derive(Clone, Copy, Debug)]
pub(super) enum PropertyParser {
    /// Refuses properties with a secret value: process lists show flags.
    Value,
    File,
}

impl TypedValueParser for PropertyParser {
    type Value = Property;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Property, Error> {
        let refuse = |message: String| {
            Err(Error::raw(ErrorKind::ValueValidation, message).with_cmd(command))
        };
        let text = StringValueParser::new().parse_ref(command, arg, value)?;
        let (key, value) = match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => (key, value),
            _ => {
                return refuse(match self {
                    Self::Value => "a property is not of the form KEY=VALUE; for example -X linger.ms=5\n".to_owned(),
                    Self::File => "a property is not of the form KEY=FILE; for example --property-file ssl.key.password=/run/secrets/password\n".to_owned(),
                });
            }
        };
        let secret = SECRETS.iter().find(|(secret, _)| *secret == key);
        match (self, secret) {
            (Self::Value, Some((key, flag))) => refuse(format!(
                "{key} is secret, and process lists show flags; use {flag}\n"
            )),
            _ => Ok((key.to_owned(), value.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[arg(short = 'X', value_parser = PropertyParser::Value, value_delimiter = ';')]
        properties: Vec<Property>,
        #[arg(long, value_parser = PropertyParser::File)]
        property_file: Vec<Property>,
    }

    fn parse(flags: &[&str]) -> Result<Flags, String> {
        let flags = [&["test"], flags].concat();
        Flags::try_parse_from(flags).map_err(|error| error.to_string())
    }

    #[test]
    fn a_secret_is_refused_and_never_shown() {
        for flag in [
            "-Xsasl.password=hunter2",
            "-Xssl.key.password=hunter2",
            "-Xhunter2",
            "-X=hunter2",
            "-Xsasl.username=me;hunter2",
            "--property-file=hunter2",
        ] {
            let error = parse(&[flag]).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
            assert!(
                error.contains("FILE") || error.contains("KEY=VALUE"),
                "{error}"
            );
        }
    }

    #[test]
    fn other_properties_are_taken_as_they_are() {
        let flags = parse(&["-Xa=1;b=x=y", "--property-file", "sasl.password=/file"]).unwrap();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(flags.properties, [pair("a", "1"), pair("b", "x=y")]);
        assert_eq!(flags.property_file, [pair("sasl.password", "/file")]);
    }
}
