//! Client crates of other people against a broker: rumqttc (3.1.1 and 5.0) and paho-mqtt (3.1, 3.1.1 and 5.0).
//!
//! ```text
//! postrider-foreign --port N [--suffix TEXT] [--only TEXT] [--theirs]
//! ```
//!
//! Each case prints `pass: TEXT` or `fail: TEXT`, as tests/lanes/lane.sh counts them. Nothing sleeps: everything
//! waits for a condition, at most [`inbox::WAIT_MAX`].

#![forbid(unsafe_code)]

mod cases;
mod inbox;
mod lane;
mod line;
mod message;
mod paho;
mod peer;
mod rumqttc_3;
mod rumqttc_5;

use anyhow::Result;

use crate::{
    lane::Lane,
    peer::{LIBRARIES, has_properties},
};

fn main() -> Result<()> {
    let lane = Lane::from_arguments()?;
    let awake = paho::keep_awake(lane.port)?;
    for library in LIBRARIES {
        for (text, run) in cases::EVERY_VERSION {
            lane.case(&format!("{}: {text}", library.name), |case| run(case, library));
        }
        for qos in 0..3 {
            lane.case(&format!("{}: 1 MiB at QoS {qos}", library.name), |case| {
                cases::large(case, library, qos)
            });
            lane.case(&format!("{}: a burst in order at QoS {qos}", library.name), |case| {
                cases::burst(case, library, qos)
            });
        }
        if has_properties(library) {
            for (text, run) in cases::WITH_PROPERTIES {
                lane.case(&format!("{}: {text}", library.name), |case| run(case, library));
            }
        }
        lane.case(&format!("{}: 200 clients at once", library.name), |case| {
            cases::crowd(case, library)
        });
    }
    awake.disconnect(None).wait_for(inbox::WAIT_MAX)?;
    Ok(())
}
