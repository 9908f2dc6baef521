//! Somebody else's broker as a server for scenarios.

use std::{
    env,
    marker::PhantomData,
    sync::atomic::{AtomicU32, Ordering},
};

use postrider::Protocol;

use super::{
    place::{Place, Visit},
    support::{Server, habits::Habits},
};

/// A kind of broker.
pub(crate) trait Broker: 'static {
    /// Its name, for people.
    const TITLE: &'static str;

    /// Where its process is.
    fn place() -> &'static Place;

    /// What it does differently in a version.
    fn habits(version: [u32; 2], protocol: Protocol) -> Habits;
}

/// A case's use of a broker.
pub(crate) struct Foreign<B> {
    visit: Visit,
    kind: PhantomData<B>,
}

/// The only user; some of these brokers let nobody in without a name.
pub(crate) const USER: (&str, &str) = ("ann", "hush");

impl<B: Broker> Server for Foreign<B> {
    fn title(&self) -> String {
        format!("{} {}", B::TITLE, version::<B>())
    }

    fn habits(&self, protocol: Protocol) -> Habits {
        let text = version::<B>();
        let mut numbers = text.split('.').map(|number| number.parse().unwrap_or(0));
        let version = [numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)];
        B::habits(version, protocol)
    }

    fn start(_: Option<(&str, &str)>) -> Option<Self> {
        let place = B::place();
        if let Err(reason) = place.version() {
            println!("not run: {reason}");
            let is_asked_for = env::var_os("POSTRIDER_LANE").is_some_and(|lane| lane == place.name);
            assert!(!is_asked_for, "{reason}");
            return None;
        }
        Some(Self { visit: place.visit(), kind: PhantomData })
    }

    fn user(&self) -> Option<(&'static str, &'static str)> {
        Some(USER)
    }

    fn with_user(self, user: &'static str, password: &'static str) -> Self {
        assert_eq!((user, password), USER);
        self
    }

    fn scope(&self) -> String {
        static CASES: AtomicU32 = AtomicU32::new(0);
        format!("case-{}/", CASES.fetch_add(1, Ordering::Relaxed))
    }

    fn alone(self) -> Self {
        drop(self.visit);
        Self { visit: B::place().visit_alone(), kind: PhantomData }
    }

    fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.visit.port())
    }

    fn kill(&mut self) {
        self.visit.kill();
    }

    fn restart(&mut self) {
        self.visit.restart();
    }
}

fn version<B: Broker>() -> &'static str {
    B::place().version().as_deref().expect("it started")
}
