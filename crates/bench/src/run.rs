//! Puts publishers and subscribers together, runs them, adds up.

use std::{
    rc::Rc,
    time::{Duration, Instant, SystemTime},
};

use hdrhistogram::Histogram;
use postrider_wire::{Filter, Topic};
use tokio::task::{JoinSet, LocalSet};

use crate::{
    BenchError, Plan, Report,
    credit::Credit,
    peer::{Keeping, Peer},
    process::Usage,
    publisher::Publisher,
    subscriber::Subscriber,
};

/// Runs a plan. Everything happens on the calling thread, so that its CPU time can be told from the broker's.
///
/// # Errors
/// [`BenchError`] if a connection fails or the plan is impossible. Lost messages are no error: see [`Report`].
pub async fn run(plan: &Plan) -> Result<Report, BenchError> {
    check(plan)?;
    LocalSet::new().run_until(run_here(plan)).await
}

fn check(plan: &Plan) -> Result<(), BenchError> {
    let (publishers, subscribers) = plan.counts();
    let wrong = if plan.size < Plan::SIZE_MIN {
        format!("a payload of {} bytes is too small; at least {}", plan.size, Plan::SIZE_MIN)
    } else if publishers == 0 || subscribers == 0 {
        "at least one pair or one subscriber is needed".to_owned()
    } else if plan.messages == 0 || plan.window == 0 || plan.ahead == 0 {
        "messages, window and ahead must be at least 1".to_owned()
    } else {
        return Ok(());
    };
    Err(BenchError::Plan(wrong))
}

async fn run_here(plan: &Plan) -> Result<Report, BenchError> {
    // Two runs must not meet on a topic, also not two of one process.
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let run = format!("{}-{:x}", std::process::id(), since.as_nanos());
    let (publishers, subscribers) = plan.counts();
    let mut senders = Vec::new();
    let mut receivers = Vec::new();
    let mut names = Vec::new();
    for number in 0..publishers {
        let credit = Rc::new(Credit::new(subscribers));
        let name = format!("bench/{run}/{number}");
        let topic = Topic::new(&name)
            .map_err(|_| BenchError::Plan(format!("'{name}' is no topic name")))?;
        for index in 0..subscribers {
            let who = format!("bench-{run}-s{number}-{index}");
            names.push(who.clone());
            let peer = open(plan, who).await?.0;
            let filter = Filter::new(&name)
                .map_err(|_| BenchError::Plan(format!("'{name}' is no topic filter")))?;
            let (credit, index) = (Rc::clone(&credit), index as usize);
            let made = Subscriber::new(peer, credit, index, number, filter, plan).await?;
            receivers.push(made);
        }
        let who = format!("bench-{run}-p{number}");
        names.push(who.clone());
        let (peer, receive_maximum) = open(plan, who).await?;
        senders.push(Publisher::new(peer, credit, number, topic, plan, receive_maximum));
    }
    let report = measure(plan, senders, receivers).await?;
    if plan.is_persistent {
        for name in names {
            Peer::open(&plan.address, &plan.how, plan.version, name, Keeping::Nothing).await?;
        }
    }
    Ok(report)
}

/// Connects; also says the broker's Receive Maximum.
async fn open(plan: &Plan, who: String) -> Result<(Peer, u16), BenchError> {
    let keeping = if plan.is_persistent { Keeping::Session } else { Keeping::Nothing };
    let (peer, connack) = Peer::open(&plan.address, &plan.how, plan.version, who, keeping).await?;
    Ok((peer, connack.properties.receive_maximum().copied().unwrap_or(u16::MAX)))
}

async fn measure(
    plan: &Plan,
    senders: Vec<Publisher>,
    receivers: Vec<Subscriber>,
) -> Result<Report, BenchError> {
    let usage = |pid: u32| Usage::of(pid).map_err(|source| BenchError::Process { pid, source });
    let before = plan.pid.map(usage).transpose()?;
    let own_before = usage(std::process::id())?;
    let start = Instant::now();
    let plan_shared = Rc::new(plan.clone());
    let mut tasks = JoinSet::new();
    for sender in senders {
        let plan = Rc::clone(&plan_shared);
        tasks.spawn_local(async move { sender.run(&plan, start).await });
    }
    let mut done = JoinSet::new();
    for receiver in receivers {
        let plan = Rc::clone(&plan_shared);
        done.spawn_local(receive(receiver, plan, start));
    }
    let mut report = collect(plan, done).await?;
    // The last acknowledgements belong to the run; publishers that never get theirs are ended with it.
    while let Ok(Some(joined)) = tokio::time::timeout(plan.patience, tasks.join_next()).await {
        joined.map_err(|e| BenchError::Plan(e.to_string()))??;
    }
    tasks.abort_all();
    report.own_cpu = usage(std::process::id())?.cpu.saturating_sub(own_before.cpu);
    if let (Some(pid), Some(before)) = (plan.pid, before) {
        let after = usage(pid)?;
        report.broker_cpu = Some(after.cpu.saturating_sub(before.cpu));
        report.broker_memory_peak = Some(after.memory_peak);
    }
    Ok(report)
}

/// Waits for all subscribers and adds up what they counted.
async fn collect(plan: &Plan, mut done: JoinSet<Received>) -> Result<Report, BenchError> {
    let mut report =
        Report { sent: u64::from(plan.messages) * u64::from(plan.counts().0), ..Report::default() };
    let mut latency: Option<Histogram<u64>> = None;
    while let Some(joined) = done.join_next().await {
        let (subscriber, end) = joined.map_err(|e| BenchError::Plan(e.to_string()))??;
        let tally = subscriber.tally;
        report.elapsed = report.elapsed.max(end);
        report.received += u64::from(tally.distinct);
        report.lost += u64::from(plan.messages - tally.distinct);
        report.doubled += tally.doubled;
        report.reordered += tally.reordered;
        match &mut latency {
            None => latency = Some(tally.latency),
            // Both histograms have the same bounds, so adding cannot fail.
            Some(sum) => sum.add(&tally.latency).unwrap_or_default(),
        }
    }
    let at = |quantile| {
        Duration::from_micros(latency.as_ref().map_or(0, |all| all.value_at_quantile(quantile)))
    };
    (report.latency_p50, report.latency_p99) = (at(0.5), at(0.99));
    Ok(report)
}

/// A subscriber at its end, and when that was.
type Received = Result<(Subscriber, Duration), BenchError>;

/// Receives until all has come or nothing has come for the plan's patience.
async fn receive(mut subscriber: Subscriber, plan: Rc<Plan>, start: Instant) -> Received {
    loop {
        let before = subscriber.tally.distinct;
        match tokio::time::timeout(plan.patience, subscriber.run(&plan, start)).await {
            Ok(result) => {
                result?;
                return Ok((subscriber, start.elapsed()));
            }
            Err(_) if subscriber.tally.distinct == before => {
                let end = start.elapsed().saturating_sub(plan.patience);
                return Ok((subscriber, end));
            }
            Err(_) => {}
        }
    }
}
