//! The first program of the README: connects, subscribes, publishes, receives, and leaves.
//!
//! ```text
//! cargo run -p postrider --example first_program [URL]
//! ```

use postrider::{QoS, Session};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "mqtt://127.0.0.1:1883".to_owned());

    let session = Session::builder(url, "press-7").connect().await?;
    let mut temps = session.subscribe("plant/+/temp", QoS::AtLeastOnce).await?;
    session.publish("plant/7/temp", "21.5").qos(QoS::ExactlyOnce).retain(true).await?;
    if let Some(message) = temps.next().await {
        println!("{} {}", message.topic(), message.text()?);
    }
    session.unsubscribe_all().await?;
    session.disconnect().await?;
    Ok(())
}
