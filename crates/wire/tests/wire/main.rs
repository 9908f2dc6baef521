//! The tests of the wire format, one program.

mod acks;
mod connect;
mod corpus;
mod encoder;
mod fixed_header;
mod generate;
mod names;
mod properties;
mod publish;
mod round_trip;
mod script;
mod session_end;
mod statements;
mod streaming;
mod subscribe;
mod text;
