//! Brokers for tests of programs that speak MQTT: a real one in the same process, and one that plays a script.
//!
//! [`TestBroker`] is the broker of `postrider-broker` on a free port. It can be stopped, killed and started again on the
//! same port. [`ScriptedBroker`] does what a script says, right or wrong: it refuses, answers with any bytes, hangs up in
//! the middle of an exchange, and tells afterwards what it received.
//!
//! ```text
//! drops    expect(PUBLISH)            received, never answered
//! delays   wait("go"), delay(time)    until the test says so, or for a time
//! refuses  refuse(reason), refuse_subscribe(reason), refuse_publish(reason)
//! cuts     cut(), cut_after(bytes), close()
//! ```
//!
//! A broker for a test that only needs one:
//!
//! ```
//! use postrider_testing::TestBroker;
//!
//! let mut broker = TestBroker::start()?;
//! assert!(broker.url().starts_with("mqtt://127.0.0.1:"));
//! let port = broker.port();
//! broker.restart()?; // Clients see a goodbye, then a broker that knows nothing of them.
//! assert_eq!(broker.port(), port);
//! # Ok::<(), postrider_testing::StartError>(())
//! ```
//!
//! What a program does when its broker is busy, and then cuts the connection with a message on its way:
//!
//! ```
//! use postrider::{QoS, Session};
//! use postrider_testing::{Script, ScriptedBroker, wire::{Packet, PacketType, ReasonCode}};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = ScriptedBroker::start([
//!     Script::new().refuse(ReasonCode::ServerBusy),
//!     Script::new().accept().expect(PacketType::Publish).cut(),
//!     Script::new().resume().acknowledge().serve(),
//! ])?;
//! let session = Session::builder(broker.url(), "press-7").start().await?;
//! let published = session.publish("plant/7/temp", "21.5").qos(QoS::AtLeastOnce).await?;
//! assert_eq!(published.number, 1);
//! session.disconnect().await?;
//!
//! let received = broker.finish().await?;
//! let is_again = |packet: &Packet| matches!(packet, Packet::Publish(publish) if publish.dup);
//! assert!(received.iter().any(|it| it.connection == 3 && is_again(&it.packet)));
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod answer;
mod broker;
mod play;
mod script;
mod scripted;

pub use postrider_broker::wire;
pub use postrider_broker::{Broker, Builder, StartError};

pub use crate::broker::TestBroker;
pub use crate::script::{Script, ScriptError, Step};
pub use crate::scripted::{Received, ScriptedBroker};
