//! `postrider bench`: load on a broker, and what came through.

use std::time::Duration;

use anyhow::Context;
use postrider_bench::{Plan, Shape, run};
use postrider_broker::wire::{QoS, Version};

use crate::{
    args::{BenchArgs, ShapeArgs},
    names::Manner,
    out::say,
};

/// Runs the load; an error if anything was lost, doubled or reordered.
pub(crate) fn bench(args: &BenchArgs) -> anyhow::Result<()> {
    let (shape, load) = match &args.shape {
        ShapeArgs::P2p { pairs, load } => (Shape::Pairs(*pairs), load),
        ShapeArgs::FanOut { subscribers, load } => (Shape::FanOut(*subscribers), load),
    };
    let plan = Plan {
        address: load.address.address(&load.transport)?,
        how: load.transport.dial(Manner::Postrider)?,
        version: if load.mqtt_version == "5.0" { Version::V5 } else { Version::V311 },
        shape,
        qos: QoS::from_bits(load.qos).context("--qos must be 0, 1 or 2")?,
        size: load.size,
        messages: load.messages,
        window: load.window,
        ahead: load.ahead,
        patience: Duration::from_secs(load.patience),
        is_persistent: load.persistent,
        pid: load.pid,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(run(&plan))?;
    let said = say(&report.to_string());
    anyhow::ensure!(
        report.is_clean(),
        "{} lost, {} doubled, {} reordered",
        report.lost,
        report.doubled,
        report.reordered
    );
    said
}
