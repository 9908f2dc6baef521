//! The same without async: a callback per subscription, a completion callback per publication.
//!
//! ```text
//! cargo run -p postrider --example blocking [URL]
//! ```

use std::sync::mpsc;

use postrider::{QoS, blocking::Session};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "mqtt://127.0.0.1:1883".to_owned());
    let (done, is_done) = mpsc::channel();

    let session = Session::builder(url, "press-8").connect()?;
    session.subscribe("plant/+/set", QoS::AtLeastOnce, |session, message| {
        // Every verb may be called from inside a callback.
        let Ok(payload) = message.payload() else { return };
        match session.publish("plant/8/state", payload).qos(QoS::AtLeastOnce).wait() {
            Ok(published) => println!("answered with message {}", published.number),
            Err(error) => eprintln!("not answered: {error}"),
        }
    })?;
    session.subscribe("plant/8/state", QoS::AtLeastOnce, move |_, message| {
        println!("{} {:?}", message.topic(), message.text());
        // The receiver is gone once the program ends.
        let _ = done.send(());
    })?;
    let number = session.publish("plant/8/set", "42").qos(QoS::ExactlyOnce).on_complete(
        |_, number, result| match result {
            Ok(published) => println!("message {number}: {}", published.reason),
            Err(error) => eprintln!("message {number}: {error}"),
        },
    )?;
    println!("message {number} is on its way");
    is_done.recv()?;
    session.unsubscribe_all()?;
    session.disconnect()?;
    Ok(())
}
