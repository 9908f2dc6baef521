//! What `pub` makes of a connection that is lost.

use postrider_testing::{Script, ScriptedBroker};

use crate::process::{Ended, run_with_input};

#[test]
fn a_connection_that_is_lost_behind_the_acknowledgement_is_no_failure() {
    for args in [&["-m", "x", "-q", "1"][..], &["-m", "x", "-q", "2"], &["-l", "-q", "1"]] {
        let ended = play([Script::new().accept().acknowledge().cut()], "pub", args);
        ended.check(0, &[]);
    }
}

fn play(scripts: impl IntoIterator<Item = Script>, verb: &str, args: &[&str]) -> Ended {
    let broker = ScriptedBroker::start(scripts).unwrap();
    let place = [verb, "-L", broker.url(), "-t", "a"];
    let ended = run_with_input(&[&place, args].concat(), b"x\n");
    broker.finish_blocking().unwrap_or_else(|error| panic!("{error}; {ended:?}"));
    ended
}
