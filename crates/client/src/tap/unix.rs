//! Files that only their user may read.

use std::{fs::OpenOptions, os::unix::fs::OpenOptionsExt};

pub(super) fn make_private(options: &mut OpenOptions) {
    options.mode(0o600);
}
