//! Takes a mutex whose owner may have panicked: what it guards is replaced whole, never left half changed.
//!
//! What is shared between threads takes its mutex and its atomics from here, where the model checker of `tests/model`
//! puts its own.

pub(crate) use std::sync::{Mutex, atomic};
use std::sync::{MutexGuard, PoisonError};

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
