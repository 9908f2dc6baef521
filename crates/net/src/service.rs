//! The servers of a domain, by DNS SRV records (RFC 2782).

use std::{io, net::SocketAddr};

use hickory_resolver::{
    Resolver, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
    proto::rr::RData,
};

use crate::{DialError, Endpoint};

/// Whom to ask for the servers of a domain. The default: the name servers of the system.
///
/// The host of a URL is then a domain, whose records say where its brokers are: `_mqtt._tcp.DOMAIN`, and
/// `_secure-mqtt._tcp.DOMAIN` for TLS. Nobody vouches for what DNS says, so a certificate must still be for the domain, or for
/// the name that was set for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Srv {
    name_server: Option<SocketAddr>,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    priority: u16,
    weight: u16,
    host: String,
    port: u16,
}

impl Srv {
    /// The default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks this name server.
    #[must_use]
    pub fn name_server(mut self, address: SocketAddr) -> Self {
        self.name_server = Some(address);
        self
    }

    /// Host and port of each server, in the order in which to try them.
    pub(crate) async fn servers(
        &self,
        endpoint: &Endpoint,
        domain: &str,
    ) -> Result<Vec<(String, u16)>, DialError> {
        let service = match endpoint {
            Endpoint::Tcp { .. } => "_mqtt",
            Endpoint::Tls { .. } => "_secure-mqtt",
            Endpoint::Unix(_) | Endpoint::WebSocket { .. } => {
                let source = io::Error::other("SRV records are for mqtt:// and mqtts:// only");
                return Err(DialError::Resolve { host: domain.to_owned(), source });
            }
        };
        // With the dot at its end, the search list of the system is left alone.
        let name = format!("{service}._tcp.{}.", domain.trim_end_matches('.'));
        let failed = |source| DialError::Resolve { host: name.clone(), source };
        let answer = self.resolver().map_err(failed)?.srv_lookup(name.as_str()).await;
        let none = || io::Error::new(io::ErrorKind::NotFound, "there is no server for it");
        let answer = answer.map_err(|error| {
            let is_empty = error.is_no_records_found() || error.is_nx_domain();
            failed(if is_empty { none() } else { io::Error::other(error.to_string()) })
        })?;
        let mut records = Vec::new();
        for record in answer.answers() {
            if let RData::SRV(srv) = &record.data
                && !srv.target.is_root()
            {
                let host = srv.target.to_utf8().trim_end_matches('.').to_owned();
                let (priority, weight, port) = (srv.priority, srv.weight, srv.port);
                records.push(Record { priority, weight, host, port });
            }
        }
        if records.is_empty() {
            return Err(failed(none()));
        }
        let mut chance = [0; 8];
        getrandom::fill(&mut chance).map_err(|error| failed(io::Error::other(error)))?;
        Ok(ordered(records, u64::from_ne_bytes(chance)))
    }

    fn resolver(&self) -> io::Result<TokioResolver> {
        let builder = match self.name_server {
            None => TokioResolver::builder_tokio().map_err(io::Error::other)?,
            Some(address) => {
                let at_port = |mut connection: ConnectionConfig| {
                    connection.port = address.port();
                    connection
                };
                let connections =
                    vec![at_port(ConnectionConfig::udp()), at_port(ConnectionConfig::tcp())];
                let server = NameServerConfig::new(address.ip(), true, connections);
                let config = ResolverConfig::from_name_servers(vec![server]);
                Resolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        builder.build().map_err(io::Error::other)
    }
}

/// The lowest priority first; among equals by chance, in proportion to their weights. RFC 2782, "Usage rules".
fn ordered(mut records: Vec<Record>, mut chance: u64) -> Vec<(String, u16)> {
    records.sort_by_key(|record| (record.priority, record.weight));
    let mut servers = Vec::with_capacity(records.len());
    while let Some(priority) = records.first().map(|record| record.priority) {
        let equals = records.iter().take_while(|record| record.priority == priority);
        let sum: u64 = equals.clone().map(|record| u64::from(record.weight)).sum();
        let wanted = chance % (sum + 1);
        let mut passed = 0;
        let at = equals
            .into_iter()
            .position(|record| {
                passed += u64::from(record.weight);
                passed >= wanted
            })
            .unwrap_or_default();
        let record = records.remove(at);
        servers.push((record.host, record.port));
        // Another digit for the next choice.
        chance = chance.rotate_right(19).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
    servers
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn priorities_go_before_weights_and_weights_are_chances() {
        let record = |priority, weight, host: &str| Record {
            priority,
            weight,
            host: host.to_owned(),
            port: 1,
        };
        let records =
            vec![record(20, 9, "last"), record(10, 90, "often"), record(10, 10, "seldom")];
        let mut firsts: BTreeMap<String, u32> = BTreeMap::new();
        for seed in 0..1000_u64 {
            let order = ordered(records.clone(), seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            assert_eq!(order.len(), 3);
            assert_eq!(order[2].0, "last");
            *firsts.entry(order[0].0.clone()).or_default() += 1;
        }
        assert!((50..200).contains(&firsts["seldom"]), "{firsts:?}");
    }
}
