//! In place of `src/lock.rs`: what the model checker watches.

use loom::sync::MutexGuard;
pub(crate) use loom::sync::{Mutex, atomic};

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}
