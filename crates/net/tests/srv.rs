//! Servers by DNS SRV records, asked of a name server of the test's own.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use postrider_net::{Address, Dial, DialError, Srv, dial_with};
use tokio::net::{TcpListener, UdpSocket};

/// RFC 2782: the lowest priority is tried first, then the next.
#[tokio::test]
async fn the_servers_of_a_domain_are_tried_in_order() {
    let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let better = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (good_port, better_port) = (port(&good), port(&better));
    let names = NameServer::start(vec![(20, good_port), (10, better_port)]).await;
    names.dial("mqtt://plant.example:1").await.unwrap();
    better.accept().await.unwrap();
    drop(better);
    names.dial("mqtt://plant.example").await.unwrap();
    good.accept().await.unwrap();
    assert!(names.asked.lock().unwrap().iter().all(|name| name == "_mqtt._tcp.plant.example"));
}

#[tokio::test]
async fn tls_has_a_service_of_its_own() {
    let names = NameServer::start(vec![]).await;
    let error = names.dial("mqtts://plant.example").await.unwrap_err();
    let DialError::Resolve { host, .. } = &error else { panic!("{error:?}") };
    assert_eq!(host, "_secure-mqtt._tcp.plant.example.");
    assert_eq!(names.asked.lock().unwrap()[0], "_secure-mqtt._tcp.plant.example");
}

#[tokio::test]
async fn the_error_is_that_of_the_last_server() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let free_port = port(&free);
    drop(free);
    let names = NameServer::start(vec![(1, free_port)]).await;
    let error = names.dial("mqtt://plant.example").await.unwrap_err().to_string();
    assert!(error.contains(&format!("tcp://127.0.0.1:{free_port} cannot be reached")), "{error}");
}

#[tokio::test]
async fn a_domain_without_servers_is_told() {
    let names = NameServer::start(vec![]).await;
    let error = names.dial("mqtt://plant.example").await.unwrap_err().to_string();
    let expected = "host '_mqtt._tcp.plant.example.' cannot be resolved: there is no server for it";
    assert_eq!(error, expected);
}

#[tokio::test]
async fn websocket_has_no_such_records() {
    let names = NameServer::start(vec![]).await;
    let error = names.dial("ws://plant.example").await.unwrap_err().to_string();
    assert!(error.contains("for mqtt:// and mqtts:// only"), "{error}");
}

fn port(listener: &TcpListener) -> u16 {
    listener.local_addr().unwrap().port()
}

/// A name server that knows the same servers for each name, at 127.0.0.1: priority and port.
struct NameServer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl NameServer {
    async fn start(servers: Vec<(u16, u16)>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut bytes = [0; 1500];
            loop {
                let (len, from) = socket.recv_from(&mut bytes).await.unwrap();
                let (name, answer) = answer(&bytes[..len], &servers);
                told.lock().unwrap().push(name);
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        Self { address, asked }
    }

    async fn dial(&self, url: &str) -> Result<postrider_net::Stream, DialError> {
        let srv = Some(Srv::new().name_server(self.address));
        let how = Dial { srv, timeout: Duration::from_secs(20), ..Dial::default() };
        dial_with(&Address::parse(url).unwrap().endpoint, &how).await
    }
}

/// The name in a query and the answer to it. RFC 1035 section 4.
fn answer(query: &[u8], servers: &[(u16, u16)]) -> (String, Vec<u8>) {
    let mut labels = Vec::new();
    let mut at = 12;
    while query[at] != 0 {
        let len = usize::from(query[at]);
        labels.push(String::from_utf8(query[at + 1..at + 1 + len].to_vec()).unwrap());
        at += 1 + len;
    }
    let question = &query[12..at + 5];
    let count = u16::try_from(servers.len()).unwrap();
    let mut answer = query[..2].to_vec();
    answer.extend_from_slice(&[0x85, 0x80, 0, 1]);
    answer.extend_from_slice(&count.to_be_bytes());
    answer.extend_from_slice(&[0, 0, 0, 0]);
    answer.extend_from_slice(question);
    for (priority, port) in servers {
        // The name of the question, SRV, IN, 60 s; priority, weight, port, and the address as a name.
        let mut data = priority.to_be_bytes().to_vec();
        data.extend_from_slice(&[0, 0]);
        data.extend_from_slice(&port.to_be_bytes());
        for label in ["127", "0", "0", "1"] {
            data.push(u8::try_from(label.len()).unwrap());
            data.extend_from_slice(label.as_bytes());
        }
        data.push(0);
        answer.extend_from_slice(&[0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60]);
        answer.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
        answer.extend_from_slice(&data);
    }
    (labels.join("."), answer)
}
