//! Panics: a defect ends the process with its message, rather than one thread in silence.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::panic::{self, AssertUnwindSafe};
use std::pin::pin;
use std::process;

thread_local! {
    static ON_PANIC: Cell<OnPanic> = const { Cell::new(OnPanic::EndProcess) };
}

/// What a panic of the current thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnPanic {
    /// Prints the message and aborts the process.
    EndProcess,
    /// Prints the message.
    Report,
    /// Nothing: the caller handles it.
    Nothing,
}

/// The called code panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panicked;

/// From now on, a panic of any thread ends the process with its message, except within
/// [`caught`] and [`reported`].
pub fn end_process() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| match ON_PANIC.get() {
        OnPanic::Nothing => {}
        OnPanic::Report => print(info),
        OnPanic::EndProcess => {
            print(info);
            process::abort();
        }
    }));
}

/// Calls `call`, whose panic is expected and leaves no state behind.
///
/// # Errors
/// [`Panicked`] instead of the panic.
pub fn caught<T>(call: impl FnOnce() -> T) -> Result<T, Panicked> {
    let _restored = RestoredHook::after(OnPanic::Nothing);
    panic::catch_unwind(AssertUnwindSafe(call)).map_err(|_| Panicked)
}

/// Runs `future` as a task whose panic is handled by the owner of the task, and only printed.
pub async fn reported<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _restored = RestoredHook::after(OnPanic::Report);
        future.as_mut().poll(context)
    })
    .await
}

/// Restores the previous effect when it is dropped.
struct RestoredHook(OnPanic);

impl RestoredHook {
    fn after(effect: OnPanic) -> Self {
        Self(ON_PANIC.replace(effect))
    }
}

impl Drop for RestoredHook {
    fn drop(&mut self) {
        ON_PANIC.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caught_panic_is_an_error_and_later_ones_count_again() {
        assert_eq!(caught(|| 1), Ok(1));
        assert_eq!(caught(|| -> i32 { panic!("expected") }), Err(Panicked));
        assert_eq!(ON_PANIC.get(), OnPanic::EndProcess);
    }

    #[tokio::test]
    async fn a_reported_panic_ends_its_task_only() {
        let task = tokio::spawn(reported(async {
            tokio::task::yield_now().await;
            assert_eq!(ON_PANIC.get(), OnPanic::Report);
            panic!("a defect")
        }));
        assert!(task.await.unwrap_err().is_panic());
        assert_eq!(ON_PANIC.get(), OnPanic::EndProcess);
    }
}
