//! Disks that are too small: whoever has one says so and ends; with room again nothing is lost.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::{
    board::Board,
    build_postrider,
    process::{BrokerKind, Room, StoreMode},
    tally::{Judged, Verdict},
    trio::{Cast, PublisherKind, Trio, Who},
    workplace::Workplace,
};

/// Lets each of the three run out of room.
#[derive(Args)]
pub(crate) struct FullArgs {
    /// The broker's program; the default is built by cargo.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Longest file, in KiB.
    #[arg(long, default_value_t = 1024)]
    room_kib: u32,
    /// Where the stores are. Default: a directory that is removed at the end.
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// Prints a line for each of the three; returns whether all went well.
pub(crate) fn run(args: FullArgs) -> Result<bool> {
    let program = args.program.map_or_else(build_postrider, Ok)?;
    let broker = BrokerKind::Postrider { program, hubs: 1 };
    let workplace = Workplace::new(args.folder)?;
    let folder = workplace.path();
    let mut is_well = true;
    for (name, who, payload_bytes) in [
        ("publisher", Who::Publisher, 4096),
        ("broker", Who::Broker, 4096),
        ("subscriber", Who::Subscriber, 0),
    ] {
        let cast = Cast {
            broker: broker.clone(),
            publisher: PublisherKind::Postrider,
            mode: StoreMode::Durable,
            rate: RATE,
            // Beyond the room that there is.
            window: 100_000,
            payload_bytes,
        };
        let starved = starve(&cast, who, Room::Kib(args.room_kib), folder.join(name));
        match starved.with_context(|| format!("with a full disk of the {name}")) {
            Ok([one, two]) if one.is_kept(1, Judged::Fully) && two.is_kept(2, Judged::Fully) => {
                let (one, two) = (one.accepted, two.accepted);
                println!(
                    "pass: full disk of the {name}: said; {one} and {two} accepted, all arrived"
                );
            }
            Ok([one, two]) => {
                is_well = false;
                println!("fail: full disk of the {name}: {}{}", one.faults(1), two.faults(2));
            }
            Err(error) => {
                is_well = false;
                println!("fail: full disk of the {name}: {error:#}");
            }
        }
    }
    Ok(is_well)
}

/// Lets one of the three run out of room, gives it room again, and compares every number.
fn starve(cast: &Cast, who: Who, room: Room, folder: PathBuf) -> Result<[Verdict; 2]> {
    let board = Arc::new(Board::default());
    let mut trio = Trio::start(cast, &folder, &board)?;
    // What cannot be handed on is kept: the one behind is away.
    let away = match who {
        Who::Publisher => Some(Who::Broker),
        Who::Broker => Some(Who::Subscriber),
        Who::Subscriber => None,
    };
    for who in away.into_iter().chain([who]) {
        trio.kill(&[who])?;
        trio.bury(who)?;
    }
    trio.revive_within(who, room)?;
    let words = trio.wait_for_end(who)?;
    ensure!(words.contains("no room on the disk"), "it did not say so{words}");
    for who in [who].into_iter().chain(away) {
        trio.revive(who)?;
    }
    trio.drain()
}

/// Messages per second.
const RATE: u32 = 2000;
