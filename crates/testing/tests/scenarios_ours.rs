//! The scenario list against our own broker.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by a panic")]

mod support;

use postrider_testing::{Broker, TestBroker};

use self::support::Server;

impl Server for TestBroker {
    fn title(&self) -> String {
        format!("Postrider {}", env!("CARGO_PKG_VERSION"))
    }

    fn start(user: Option<(&str, &str)>) -> Option<Self> {
        let started = match user {
            Some((user, password)) => Self::start_with(Broker::builder().user(user, password)),
            None => Self::start(),
        };
        Some(started.expect("a broker in this process"))
    }

    fn url(&self) -> String {
        self.url().to_owned()
    }

    fn kill(&mut self) {
        self.kill();
    }

    fn restart(&mut self) {
        self.restart().expect("the same port");
    }
}

all_scenarios!(postrider_testing::TestBroker);
