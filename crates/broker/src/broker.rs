//! A running broker.

use std::{
    io,
    sync::{Arc, OnceLock, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use postrider_hub::{Hub, HubStats};
use postrider_net::{Clock, Endpoint, Layers, Listener, ServerTls, Stream, TlsError};
use postrider_proto::{Durability, Time};
use postrider_store::{Disk, StoreError};
use tracing::{debug, error, info, warn};

use crate::{
    Builder, Failure, ReloadError, StartError,
    acceptor::{Dealer, accept},
    builder::Plan,
    driver::{Driver, Surroundings},
    inbox::{Address, Inbox, Input, inbox},
    recovery::{self, Recovered},
    users::Users,
    vault::Vault,
};

/// A running broker with threads of its own; there may be many in one process. It stops when it is dropped.
///
/// None of its methods needs an async runtime. Those that wait do so for a bounded time.
#[derive(Debug)]
pub struct Broker {
    endpoints: Vec<Endpoint>,
    /// Of those listeners that have any.
    layers: Vec<(Endpoint, Layers)>,
    connector: Connector,
    drivers: Arc<[Address]>,
    threads: Vec<JoinHandle<()>>,
    disk: Option<Disk>,
    failed: Arc<OnceLock<StoreError>>,
}

/// Opens connections to a broker of the same process, without a socket. Outlives the broker harmlessly.
#[derive(Clone)]
pub struct Connector {
    dealer: Dealer,
}

/// What the thread of one hub begins with.
struct Beginning {
    hub: Hub,
    vault: Vault,
    index: u16,
    around: Surroundings,
    /// The first hub's thread also accepts.
    listen: Vec<(Endpoint, Durability)>,
    tls: ServerTls,
    started: mpsc::SyncSender<Result<Listening, StartError>>,
}

/// Where listeners listen, and what is below their connections.
type Listening = Vec<(Endpoint, Option<Layers>)>;

impl Broker {
    /// Settings, to be followed by [`Builder::start`].
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn start(mut plan: Plan) -> Result<Self, StartError> {
        let (addresses, inboxes): (Vec<Address>, Vec<Inbox>) =
            plan.hubs.iter().map(|_| inbox()).unzip();
        let drivers: Arc<[Address]> = addresses.into();
        let clock = Clock::start();
        let Recovered { hubs, disk } = open(&mut plan, &inboxes, Time(clock.now_ms()))?;
        let users: Arc<Users> = Arc::new(plan.users);
        let (started, reports) = mpsc::sync_channel(hubs.len());
        let dealer = Dealer::new(Arc::clone(&drivers), plan.mode);
        // Dropped on a failure below, it stops the threads that run already.
        let mut broker = Self {
            endpoints: Vec::new(),
            layers: Vec::new(),
            connector: Connector { dealer: dealer.clone() },
            drivers: Arc::clone(&drivers),
            threads: Vec::new(),
            disk,
            failed: Arc::default(),
        };
        let mut listen = Some(plan.listen);
        for (index, ((hub, vault), inbox)) in (0..).zip(hubs.into_iter().zip(inboxes)) {
            let beginning = Beginning {
                hub,
                vault,
                index,
                around: Surroundings {
                    inbox,
                    drivers: Arc::clone(&drivers),
                    clock,
                    users: Arc::clone(&users),
                    flush_max: plan.flush_max,
                    failed: Arc::clone(&broker.failed),
                },
                listen: listen.take().unwrap_or_default(),
                tls: plan.tls.clone(),
                started: started.clone(),
            };
            let dealer = dealer.clone();
            let thread = thread::Builder::new()
                .name(format!("postrider-hub-{index}"))
                .spawn(move || beginning.run(dealer));
            broker.threads.push(thread.map_err(StartError::Thread)?);
        }
        drop(started);
        for _ in 0..broker.threads.len() {
            let ended = || Err(StartError::Thread(io::Error::other("it ended at once")));
            for (endpoint, layers) in reports.recv().unwrap_or_else(|_| ended())? {
                broker.layers.extend(layers.map(|layers| (endpoint.clone(), layers)));
                broker.endpoints.push(endpoint);
            }
        }
        for endpoint in &broker.endpoints {
            info!(%endpoint, "listening");
        }
        Ok(broker)
    }

    /// Where it listens, in the order in which the places were given, with the ports that the system chose.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Reads the certificates of the listeners, their keys, and whom they let in from their files again: for connections
    /// that come from now on; those that stand go on. Blocks while it reads.
    ///
    /// # Errors
    /// [`ReloadError`]: a file cannot be used, and all listeners keep what they had.
    pub fn reload_certificates(&self) -> Result<(), ReloadError> {
        let listeners = self.layers.iter().map(|(endpoint, layers)| (endpoint, layers));
        Layers::reload(listeners).map_err(|(endpoint, error)| ReloadError {
            endpoint: endpoint.clone(),
            error: Box::new(error),
        })
    }

    /// Opens a connection without a socket: the client's end of a byte stream that holds up to 256 KiB each way.
    #[must_use]
    pub fn connect(&self) -> Stream {
        self.connector.connect()
    }

    /// Opens connections as [`Broker::connect`] does, for a client that reconnects by itself.
    #[must_use]
    pub fn connector(&self) -> Connector {
        self.connector.clone()
    }

    /// Counts, summed over all hubs. A hub that does not answer within a second is left out.
    #[must_use]
    pub fn stats(&self) -> HubStats {
        let (answer, answers) = mpsc::sync_channel(self.drivers.len());
        for driver in self.drivers.iter() {
            // An ended driver has nothing to count.
            let _ = driver.send(Input::Stats(answer.clone()));
        }
        drop(answer);
        let mut sum = HubStats::default();
        while let Ok(stats) = answers.recv_timeout(ANSWER_MAX) {
            sum.links += stats.links;
            sum.sessions += stats.sessions;
            sum.subscriptions += stats.subscriptions;
            sum.retained += stats.retained;
            sum.publishes_received += stats.publishes_received;
            sum.publishes_sent += stats.publishes_sent;
            sum.dropped += stats.dropped;
        }
        sum
    }

    /// Stops: says goodbye to all clients, waits a bounded time until they have taken what is for them, and ends the
    /// threads. Dropping does the same.
    pub fn shut_down(self) {
        drop(self);
    }

    /// As [`Broker::shut_down`], and says whether all is on the disk.
    ///
    /// # Errors
    /// [`Failure`] if the store could not be synced, which also the log says, or a thread panicked.
    pub fn close(mut self) -> Result<(), Failure> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Failure> {
        self.tell(|| Input::Stop);
        let mut ended = Ok(());
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                error!("a thread of the broker panicked");
                ended = Err(Failure::Panic);
            }
        }
        if let Some(disk) = self.disk.take()
            && let Err(error) = disk.close()
        {
            error!(%error, "the store was not closed well");
            ended = Err(Failure::Store(error));
        }
        info!("broker stopped");
        ended
    }

    /// Ends as a crash would, for tests: connections just end, and what was not written is lost.
    pub fn kill(self) {
        self.tell(|| Input::Kill);
    }

    /// Resolves when the broker has ended by itself, which it does only after a failure; the log names it too.
    pub async fn ended(&self) -> Failure {
        // If one hub fails, all are stopped.
        if let Some(driver) = self.drivers.first() {
            driver.ended().await;
        }
        self.failed.get().cloned().map_or(Failure::Panic, Failure::Store)
    }

    fn tell(&self, input: impl Fn() -> Input) {
        for driver in self.drivers.iter() {
            // One that has ended needs no telling.
            let _ = driver.send(input());
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if !self.threads.is_empty() || self.disk.is_some() {
            // The log says it.
            let _ = self.end();
        }
    }
}

impl Connector {
    /// Opens a connection; its first read tells if the broker has stopped.
    #[must_use]
    pub fn connect(&self) -> Stream {
        let (near, far) = tokio::io::duplex(LOCAL_BYTES);
        self.dealer.deal_local(Stream::new(far));
        Stream::new(near)
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

impl Beginning {
    /// The life of a hub's thread.
    fn run(self, dealer: Dealer) {
        let index = self.index;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .event_interval(EVENT_INTERVAL)
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return self.report(Err(StartError::Thread(error))),
        };
        runtime.block_on(async {
            let bound = bind(&self.listen, &self.tls).await;
            let listeners = match bound {
                Ok(listeners) => listeners,
                Err(error) => return self.report(Err(error)),
            };
            let place = |(listener, _): &(Listener, Durability)| {
                (listener.endpoint().clone(), listener.layers().cloned())
            };
            let listening = listeners.iter().map(place).collect();
            let Self { hub, vault, around, started, .. } = self;
            let drivers = Arc::clone(&around.drivers);
            let driver = Driver::new(hub, vault, index, around);
            for (listener, mode) in listeners {
                tokio::spawn(accept(listener, mode, dealer.clone()));
            }
            // The starter may have given up because of another hub; then it stops this one.
            let _ = started.send(Ok(listening));
            drop(started);
            // As a task of its own: the root of a current-thread runtime is woken through a descriptor, a task is not.
            if tokio::spawn(driver.run()).await.is_err() {
                error!(hub = index, "a hub panicked; the broker stops");
                for driver in drivers.iter() {
                    // One that has ended needs no telling.
                    let _ = driver.send(Input::Stop);
                }
            }
        });
        debug!(hub = index, "hub ended");
    }

    fn report(&self, result: Result<Listening, StartError>) {
        // As above.
        let _ = self.started.send(result);
    }
}

/// Makes the hubs, from the store if there is one.
fn open(plan: &mut Plan, inboxes: &[Inbox], now: Time) -> Result<Recovered, StartError> {
    let configs = std::mem::take(&mut plan.hubs);
    let Some(path) = &plan.store else { return Ok(recovery::begin_empty(configs, now)) };
    let ready: Vec<_> = inboxes.iter().map(|inbox| Arc::clone(&inbox.ready)).collect();
    let mode = plan.mode_weakest();
    match recovery::recover(path, configs.clone(), mode, &ready, now) {
        Err(StartError::Store(error @ StoreError::Corrupt { .. })) if plan.quarantines => {
            let aside = Disk::quarantine(path).map_err(StartError::Store)?;
            warn!(%error, aside = %aside.display(), "the store was set aside; an empty one begins");
            recovery::recover(path, configs, mode, &ready, now)
        }
        other => other,
    }
}

async fn bind(
    endpoints: &[(Endpoint, Durability)],
    tls: &ServerTls,
) -> Result<Vec<(Listener, Durability)>, StartError> {
    let mut listeners = Vec::with_capacity(endpoints.len());
    for (endpoint, mode) in endpoints {
        let listener = Listener::bind_with(endpoint, tls).await.map_err(|source| {
            let endpoint = endpoint.clone();
            if let Some(error) = TlsError::find(&source) {
                StartError::Tls { endpoint, error: Box::new(error.clone()) }
            } else if source.kind() == io::ErrorKind::AddrInUse {
                StartError::AddressInUse { endpoint }
            } else {
                StartError::Listen { endpoint, source }
            }
        })?;
        listeners.push((listener, *mode));
    }
    Ok(listeners)
}

/// Bytes that a connection within the process holds, each way.
const LOCAL_BYTES: usize = 256 * 1024;
/// How long a hub has for its counts.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// Turns between two looks at the sockets. A turn is a batch, so there are few between them.
const EVENT_INTERVAL: u32 = 7;
