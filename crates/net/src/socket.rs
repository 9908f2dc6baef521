//! Opens TCP sockets: all addresses of a name, in parallel if the first are slow (RFC 8305).

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{
    net::{TcpSocket, TcpStream, lookup_host},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::DialError;

/// How long an address has for itself before the next one is tried beside it. RFC 8305 section 5.
const STAGGER: Duration = Duration::from_millis(250);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 64;

/// Connects to a host: to whichever of its addresses answers first. `place` is for people.
pub(crate) async fn connect(
    host: &str,
    port: u16,
    bind: Option<&str>,
    place: &str,
) -> Result<TcpStream, DialError> {
    let failed = |source| DialError::Connect { endpoint: place.to_owned(), source };
    let unresolved = |source| DialError::Resolve { host: host.to_owned(), source };
    let addresses = interleaved(resolve(host, port).await.map_err(unresolved)?);
    let from = match bind {
        Some(bind) => {
            // The name is ours, not that of the host.
            let named = |error| io::Error::other(format!("from {bind}: {error}"));
            let found = resolve(bind, 0).await.map_err(|error| failed(named(error)))?;
            found.iter().map(SocketAddr::ip).collect()
        }
        None => Vec::new(),
    };
    let tcp = race(addresses, from).await.map_err(failed)?;
    tcp.set_nodelay(true).map_err(failed)?;
    Ok(tcp)
}

/// The addresses of a name.
async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found = lookup_host((host, port)).await?;
    let addresses: Vec<_> = found.take(ADDRESSES_MAX).collect();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it has no address"));
    }
    Ok(addresses)
}

/// Both families in turn, beginning with that of the first address, which the system prefers. RFC 8305 section 4.
fn interleaved(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let is_first_v4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv4() == is_first_v4);
    let mut second = second.into_iter();
    let mut mixed = VecDeque::new();
    for address in first {
        mixed.push_back(address);
        mixed.extend(second.next());
    }
    mixed.extend(second);
    mixed
}

/// Tries one address after another without waiting for those before to fail; the first that connects wins, and the
/// others are dropped.
async fn race(mut left: VecDeque<SocketAddr>, from: Vec<IpAddr>) -> io::Result<TcpStream> {
    let mut attempts = JoinSet::new();
    let mut last = io::Error::new(
        io::ErrorKind::AddrNotAvailable,
        "no address of ours is of the kind that the host has",
    );
    let mut next_at = Instant::now();
    loop {
        if left.is_empty() && attempts.is_empty() {
            return Err(last);
        }
        tokio::select! {
            biased;
            Some(ended) = attempts.join_next(), if !attempts.is_empty() => match ended {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => {
                    last = error;
                    // Nobody waits for the stagger of an attempt that has failed.
                    next_at = Instant::now();
                }
                Err(error) => last = io::Error::other(error),
            },
            () = sleep_until(next_at), if !left.is_empty() => {
                if let Some(to) = left.pop_front() {
                    attempts.spawn(open(to, from.clone()));
                }
                next_at = Instant::now() + STAGGER;
            }
        }
    }
}

async fn open(to: SocketAddr, from: Vec<IpAddr>) -> io::Result<TcpStream> {
    if from.is_empty() {
        return TcpStream::connect(to).await;
    }
    let Some(from) = from.into_iter().find(|from| from.is_ipv4() == to.is_ipv4()) else {
        return Err(io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            "the address to connect from is not of the kind that the host has",
        ));
    };
    let named = |error: io::Error| io::Error::new(error.kind(), format!("from {from}: {error}"));
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(from, 0)).map_err(named)?;
    socket.connect(to).await.map_err(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_beginning_with_the_preferred_one() {
        let mixed = |texts: &[&str]| -> Vec<String> {
            let addresses = texts.iter().map(|text| text.parse().unwrap()).collect();
            interleaved(addresses).iter().map(|address| address.ip().to_string()).collect()
        };
        let given = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"];
        assert_eq!(mixed(&given), ["::1", "1.1.1.1", "::2", "2.2.2.2", "::3"]);
        assert_eq!(mixed(&["1.1.1.1:1", "[::1]:1", "[::2]:1"]), ["1.1.1.1", "::1", "::2"]);
    }

    /// RFC 8305: an address that drops everything does not hold up the others.
    #[tokio::test]
    async fn a_silent_address_does_not_hide_one_that_answers() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        // A listener whose queue is full drops what comes.
        let silent =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        silent.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        silent.listen(0).unwrap();
        let full: SocketAddr = silent.local_addr().unwrap().as_socket().unwrap();
        let mut fillers = Vec::new();
        while let Ok(Ok(filler)) = tokio::time::timeout(STAGGER, TcpStream::connect(full)).await {
            fillers.push(filler);
        }
        // One after the other it would be minutes: what the system waits for an answer.
        let raced = race([full, good].into(), Vec::new());
        let stream = tokio::time::timeout(Duration::from_secs(20), raced).await.unwrap().unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
    }
}
