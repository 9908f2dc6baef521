//! Many messages published into a store while there is no broker, then drained into one: rates, peak memory, disk.
//!
//! ```text
//! cargo bench -p postrider --bench offline [-- MESSAGES [DIR]]
//! ```
//!
//! Publisher, broker and drainer are processes of their own, so that the peak memory is that of the client.

use std::{
    env,
    error::Error,
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use postrider::{Bytes, Event, QoS, Session, Topic};
use postrider_testing::TestBroker;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const MESSAGES: u32 = 1_000_000;
const PAYLOAD: &[u8] = &[b'x'; 64];

fn main() -> Outcome {
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    match &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => all(MESSAGES, &env::temp_dir()),
        ["broker"] => serve(),
        ["publish", store, count] => run(publish(Path::new(store), count.parse()?)),
        ["drain", store, url] => run(drain(Path::new(store), url)),
        [count] => all(count.parse()?, &env::temp_dir()),
        [count, dir] => all(count.parse()?, Path::new(dir)),
        _ => Err("usage: offline [MESSAGES [DIR]]".into()),
    }
}

fn all(count: u32, dir: &Path) -> Outcome {
    let folder = dir.join(format!("postrider-offline-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let store = folder.join("client.state");
    let shown = store.to_string_lossy().into_owned();
    println!("{count} messages at QoS 1, {} bytes each", PAYLOAD.len());
    child(&["publish", &shown, &count.to_string()])?.wait()?;
    println!("disk    {:>8.1} MB before draining", megabytes(size(&store)?));
    let mut broker = child(&["broker"])?;
    let mut url = String::new();
    BufReader::new(broker.stdout.as_mut().ok_or("no output of the broker")?).read_line(&mut url)?;
    let drained = child(&["drain", &shown, url.trim()])?.wait();
    drop(broker.stdin.take());
    broker.wait()?;
    drained?;
    println!("disk    {:>8.1} MB after draining", megabytes(size(&store)?));
    fs::remove_dir_all(folder)?;
    Ok(())
}

/// This program again. What a broker says is read; others say it themselves.
fn child(words: &[&str]) -> Outcome<Child> {
    let is_broker = words == ["broker"];
    let mut command = Command::new(env::current_exe()?);
    command.args(words).stdin(Stdio::piped());
    if is_broker {
        command.stdout(Stdio::piped());
    }
    Ok(command.spawn()?)
}

/// A broker until its input ends.
fn serve() -> Outcome {
    let broker = TestBroker::start()?;
    println!("{}", broker.url());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    drop(broker);
    Ok(())
}

fn run(task: impl Future<Output = Outcome>) -> Outcome {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(task)
}

async fn publish(store: &Path, count: u32) -> Outcome {
    // Nobody listens at the discard port of this machine; if somebody does, it is no broker.
    let session = Session::builder("mqtt://127.0.0.1:9", "offline")
        .store(PathBuf::from(store))
        .queue_messages(count)
        .start()
        .await?;
    let topic = Topic::new("bench/offline")?;
    let payload = Bytes::from_static(PAYLOAD);
    let started = Instant::now();
    for number in 1..=count {
        let publish = session.publish(&topic, &payload).qos(QoS::AtLeastOnce);
        if number < count {
            publish.receipt().await?;
        } else {
            publish.stored().await?;
        }
    }
    report("publish", count, started.elapsed())?;
    session.disconnect().await?;
    Ok(())
}

async fn drain(store: &Path, url: &str) -> Outcome {
    let started = Instant::now();
    let session = Session::builder(url, "offline")
        .store(PathBuf::from(store))
        .queue_messages(u32::MAX)
        .start()
        .await?;
    println!("open    {:>8.2} s", started.elapsed().as_secs_f64());
    let mut events = session.events();
    while !matches!(events.next().await, Some(Event::Connected(_))) {}
    let count = u32::try_from(session.stats().pending())?;
    let started = Instant::now();
    while session.stats().pending() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    report("drain", count, started.elapsed())?;
    session.disconnect().await?;
    Ok(())
}

fn report(what: &str, count: u32, took: Duration) -> Outcome {
    let rate = f64::from(count) / took.as_secs_f64();
    let peak = peak_kib()? as f64 * 1024.0 / 1e6;
    println!("{what:<7} {count:>8} in {:.2} s, {rate:.0} per second, peak {peak:.1} MB", {
        took.as_secs_f64()
    });
    Ok(())
}

/// The most memory that this process ever had, in KiB.
fn peak_kib() -> Outcome<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

fn size(folder: &Path) -> Outcome<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        sum += if meta.is_dir() { size(&entry.path())? } else { meta.len() };
    }
    Ok(sum)
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
