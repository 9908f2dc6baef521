//! The real program, as its users meet it: options, output, exit status.

mod demo;
mod judges;
mod options;
mod process;
mod pub_sub;
