//! Proxies as the environment names them, by the rules of curl: one for each scheme or one for all, and hosts that are
//! reached without any. Unlike curl's, no rule leads from this machine to itself by way of another one.

use std::{env, net::IpAddr};

use crate::{Endpoint, Proxy, ProxyUrlError};

/// Which proxy to go through for which server, as variables of the environment say.
///
/// | URL of the server | variables, the first that is set |
/// | --- | --- |
/// | `mqtt://` | `mqtt_proxy`, `all_proxy` |
/// | `mqtts://` | `mqtts_proxy`, `all_proxy` |
/// | `ws://` | `ws_proxy`, `http_proxy`, `all_proxy` |
/// | `wss://` | `wss_proxy`, `https_proxy`, `all_proxy` |
///
/// Each may be written in capitals too, but for `http_proxy`, which a web server could be made to set. One that is empty
/// counts as not set. A value without a scheme means `http://`. `no_proxy` lists hosts that are reached directly, with
/// commas between them: `*` is all of them, `plant.example` that host and all below it, `10.0.0.0/8` addresses. So is this
/// machine in any case, as `localhost` or by a loopback address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyRules {
    /// For `mqtt`, `mqtts`, `ws` and `wss`.
    proxies: [Option<Proxy>; 4],
    direct: Vec<Direct>,
}

/// A variable of the environment does not name a proxy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable {variable}: {error}")]
pub struct ProxyVariableError {
    /// Its name.
    pub variable: String,
    /// What is wrong with its value.
    pub error: ProxyUrlError,
}

/// Hosts that need no proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Direct {
    All,
    /// A host and all below it.
    Domain(String),
    /// Addresses that begin with so many bits.
    Network(IpAddr, u32),
}

/// The variables of each scheme, in the order of [`ProxyRules::proxies`].
const VARIABLES: [&[&str]; 4] = [
    &["mqtt_proxy", "all_proxy"],
    &["mqtts_proxy", "all_proxy"],
    &["ws_proxy", "http_proxy", "all_proxy"],
    &["wss_proxy", "https_proxy", "all_proxy"],
];

impl ProxyRules {
    /// What the environment of this process says, now.
    ///
    /// # Errors
    /// [`ProxyVariableError`].
    pub fn from_environment() -> Result<Self, ProxyVariableError> {
        Self::from_variables(|name| env::var(name).ok())
    }

    /// The same of variables that somebody else knows: `value` gives the value of a name.
    ///
    /// # Errors
    /// [`ProxyVariableError`].
    pub fn from_variables(
        value: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ProxyVariableError> {
        let mut rules = Self::default();
        for (proxy, names) in rules.proxies.iter_mut().zip(VARIABLES) {
            let Some((name, text)) = names.iter().find_map(|name| set(&value, name)) else {
                continue;
            };
            let text = if text.contains("://") { text } else { format!("http://{text}") };
            let parsed = text.parse();
            let parsed = parsed.map_err(|error| ProxyVariableError { variable: name, error })?;
            *proxy = Some(parsed);
        }
        match set(&value, "no_proxy") {
            Some((_, hosts)) => Ok(rules.except(&hosts)),
            None => Ok(rules),
        }
    }

    /// Reaches these hosts directly, written as in `no_proxy`, and not those that were named before.
    #[must_use]
    pub fn except(mut self, hosts: &str) -> Self {
        let words = hosts.split([',', ' ', '\t']).filter(|word| !word.is_empty());
        self.direct = words.map(direct).collect();
        self
    }

    /// The proxy on the way to an endpoint, if there is one.
    pub(crate) fn proxy(&self, endpoint: &Endpoint) -> Option<&Proxy> {
        let (place, host) = match endpoint {
            Endpoint::Tcp { host, .. } => (0, host),
            Endpoint::Tls { host, .. } => (1, host),
            Endpoint::WebSocket { host, is_tls: false, .. } => (2, host),
            Endpoint::WebSocket { host, is_tls: true, .. } => (3, host),
            Endpoint::Unix(_) => return None,
        };
        let proxy = self.proxies.get(place)?.as_ref()?;
        let is_direct = is_here(host) || self.direct.iter().any(|direct| direct.covers(host));
        (!is_direct).then_some(proxy)
    }
}

impl Direct {
    fn covers(&self, host: &str) -> bool {
        match self {
            Self::All => true,
            Self::Domain(domain) => {
                let host = host.trim_end_matches('.').to_ascii_lowercase();
                host.strip_suffix(domain.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            Self::Network(network, bits) => match (network, bare(host).parse()) {
                (IpAddr::V4(network), Ok(IpAddr::V4(address))) => {
                    let differing = network.to_bits() ^ address.to_bits();
                    differing.leading_zeros() >= *bits
                }
                (IpAddr::V6(network), Ok(IpAddr::V6(address))) => {
                    let differing = network.to_bits() ^ address.to_bits();
                    differing.leading_zeros() >= *bits
                }
                (_, Ok(_) | Err(_)) => false,
            },
        }
    }
}

/// Whether a host is this machine.
fn is_here(host: &str) -> bool {
    let localhost = Direct::Domain("localhost".to_owned());
    bare(host)
        .parse()
        .map_or_else(|_| localhost.covers(host), |address: IpAddr| address.is_loopback())
}

/// A name as it is set, and its value.
fn set(value: impl Fn(&str) -> Option<String>, name: &str) -> Option<(String, String)> {
    let capitals = name.to_ascii_uppercase();
    let names = if name == "http_proxy" { vec![name] } else { vec![name, &capitals] };
    let found = |name: &str| Some((name.to_owned(), value(name).filter(|text| !text.is_empty())?));
    names.into_iter().find_map(found)
}

/// What is written as neither network nor address is a name.
fn direct(word: &str) -> Direct {
    if word == "*" {
        return Direct::All;
    }
    let (address, bits) = word.split_once('/').unwrap_or((word, ""));
    match (bare(address).parse::<IpAddr>(), bits.parse::<u32>()) {
        (Ok(address), Ok(bits)) => Direct::Network(address, bits),
        (Ok(address), Err(_)) => Direct::Network(address, if address.is_ipv4() { 32 } else { 128 }),
        (Err(_), _) => Direct::Domain(word.trim_matches('.').to_ascii_lowercase()),
    }
}

/// An address without its brackets.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Address;

    fn rules(variables: &[(&str, &str)]) -> Result<ProxyRules, ProxyVariableError> {
        ProxyRules::from_variables(|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn way(rules: &ProxyRules, url: &str) -> String {
        let endpoint = Address::parse(url).unwrap().endpoint;
        rules.proxy(&endpoint).map_or_else(|| "direct".to_owned(), ToString::to_string)
    }

    #[test]
    fn each_scheme_has_its_variable_and_all_have_one() {
        let all = [
            ("http_proxy", "web:1"),
            ("HTTPS_PROXY", "http://secure:2"),
            ("all_proxy", "socks5h://any:3"),
            ("mqtts_proxy", ""),
            ("MQTT_PROXY", "http://mqtt:4"),
        ];
        let found = rules(&all).unwrap();
        for (url, expected) in [
            ("mqtt://a", "http://mqtt:4"),
            ("mqtts://a", "socks5h://any:3"),
            ("ws://a", "http://web:1"),
            ("wss://a", "http://secure:2"),
            ("unix:/a", "direct"),
        ] {
            assert_eq!(way(&found, url), expected, "{url}");
        }
        // What is meant for the web is not for MQTT.
        assert_eq!(way(&rules(&all[..2]).unwrap(), "mqtts://a"), "direct");
        // A web server sets it from a header of the request.
        assert_eq!(way(&rules(&[("HTTP_PROXY", "web:1")]).unwrap(), "ws://a"), "direct");
    }

    #[test]
    fn some_hosts_are_reached_directly() {
        let with = |hosts| rules(&[("ALL_PROXY", "gate:1"), ("NO_PROXY", hosts)]).unwrap();
        let some = with(".plant.example, 10.0.0.0/8 ,[fd00::]/8,192.0.2.7");
        for (host, is_direct) in [
            ("localhost", true),
            ("Broker.localhost.", true),
            ("127.1.2.3", true),
            ("[::1]", true),
            ("localhost.example", false),
            ("plant.example", true),
            ("Press.Plant.Example", true),
            ("otherplant.example", false),
            ("10.200.0.1", true),
            ("11.0.0.1", false),
            ("[fd12::1]", true),
            ("[fe80::1]", false),
            ("192.0.2.7", true),
            ("192.0.2.77", false),
        ] {
            let way = way(&some, &format!("mqtt://{host}"));
            assert_eq!(way == "direct", is_direct, "{host}: {way}");
        }
        assert_eq!(way(&with("*"), "mqtt://a"), "direct");
        assert_eq!(way(&with("0.0.0.0/0"), "mqtt://1.2.3.4"), "direct");
        assert_eq!(way(&some.except(""), "mqtt://plant.example"), "http://gate:1");
    }

    #[test]
    fn a_wrong_variable_is_named_and_its_value_is_not() {
        let error = rules(&[("ALL_PROXY", "socks4://ann:hush@gate")]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("variable ALL_PROXY: ") && text.contains("SOCKS 4"), "{text}");
        assert!(!text.contains("hush"), "{text}");
    }
}
