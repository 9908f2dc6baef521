//! What `pub` and `rr` make of a connection that is lost.

use postrider_testing::{Script, ScriptedBroker, wire::PacketType};

use crate::process::{Ended, run_with_input};

const AGAIN: [&str; 2] =
    ["disconnected: the connection was lost; trying again in ", "connected again"];

#[test]
fn a_connection_that_is_lost_behind_the_acknowledgement_is_no_failure() {
    for args in [&["-m", "x", "-q", "1"][..], &["-m", "x", "-q", "2"], &["-l", "-q", "1"]] {
        let ended = play([Script::new().accept().acknowledge().cut()], "pub", args);
        ended.check(0, &[]);
    }
}

/// A script that hangs must be able to see why.
#[test]
fn lines_that_wait_for_a_connection_say_so() {
    let cut = Script::new().accept().expect(PacketType::Publish).close();
    let scripts = [cut, Script::new().accept().acknowledge().closed()];
    play(scripts.clone(), "pub", &["-l", "-q", "1"]).check(0, &AGAIN);
    assert_eq!(play(scripts, "pub", &["-l", "-q", "1", "--quiet"]).err, "");
}

#[test]
fn a_request_whose_response_waits_for_a_connection_says_so() {
    let answer = |script: Script| script.send_bytes(&b"\x30\x05\0\x01e\0y"[..]).closed();
    let cut = Script::new().accept().grant().expect(PacketType::Publish).close();
    let scripts = [cut, answer(Script::new().accept().grant())];
    let ended = play(scripts, "rr", &["-m", "x", "-e", "e"]);
    ended.check(0, &AGAIN);
    assert_eq!(ended.out, ["y"]);
    // Before the request is sent, too.
    let scripts = [Script::new().accept().grant().close(), answer(Script::new().accept().grant())];
    let ended = play(scripts, "rr", &["-m", "x", "-e", "e"]);
    ended.check(0, &[]);
    assert_eq!(ended.out, ["y"]);
}

fn play(scripts: impl IntoIterator<Item = Script>, verb: &str, args: &[&str]) -> Ended {
    let broker = ScriptedBroker::start(scripts).unwrap();
    let place = [verb, "-L", broker.url(), "-t", "a"];
    let ended = run_with_input(&[&place, args].concat(), b"x\n");
    broker.finish_blocking().unwrap_or_else(|error| panic!("{error}; {ended:?}"));
    ended
}
