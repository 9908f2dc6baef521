//! Links from outside: scripts of bytes in, one line per packet out, with simulated time.

mod acks;
mod alias;
mod end;
mod faults;
mod handshake;
mod keep_alive;
mod pair;
mod publish;
mod spool;
