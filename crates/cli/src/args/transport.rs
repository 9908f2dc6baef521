//! The options for TLS, WebSocket and proxies.

use std::path::PathBuf;

use clap::Args;

/// What the connection runs on. An option for TLS turns it on.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS, WebSocket, proxy")]
pub(crate) struct TransportArgs {
    /// File with the authorities to trust (PEM).
    #[arg(long, value_name = "PATH")]
    pub(crate) cafile: Option<PathBuf>,
    /// Folder of files with the authorities to trust.
    #[arg(long, value_name = "DIR")]
    pub(crate) capath: Option<PathBuf>,
    /// Trusts the authorities that this system trusts. Default, unless --cafile or --capath is given.
    #[arg(long)]
    pub(crate) tls_use_os_certs: bool,
    /// File with revocation lists (CRL, PEM or DER): a broker whose certificate is in one is refused. Each authority of its
    /// chain must have one.
    #[arg(long, value_name = "PATH")]
    pub(crate) crlfile: Option<PathBuf>,
    /// File with our certificate chain (PEM). Needs --key.
    #[arg(long, value_name = "PATH")]
    pub(crate) cert: Option<PathBuf>,
    /// File with the key of --cert (PEM or DER).
    #[arg(long, value_name = "PATH")]
    pub(crate) key: Option<PathBuf>,
    /// File with our certificate and its key (PKCS#12), in place of --cert and --key.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["cert", "key"])]
    pub(crate) pkcs12: Option<PathBuf>,
    /// Password of the key. Other users of this machine can see command lines: POSTRIDER_KEYPASS and --keypass-file are
    /// hidden from them.
    #[arg(long, value_name = "PASSWORD", hide_env_values = true)]
    pub(crate) keypass: Option<String>,
    /// File with the password of the key, in its first line.
    #[arg(long, value_name = "PATH", conflicts_with = "keypass")]
    pub(crate) keypass_file: Option<PathBuf>,
    /// Application protocol to offer (ALPN), such as mqtt, or x-amzn-mqtt-ca for AWS at port 443. May be repeated.
    #[arg(long, value_name = "PROTOCOL")]
    pub(crate) tls_alpn: Vec<String>,
    /// Oldest version of TLS to speak: tlsv1.2 (default) or tlsv1.3.
    #[arg(long, value_name = "VERSION")]
    pub(crate) tls_version: Option<String>,
    /// Name to send to the broker, and that its certificate must have, in place of the host.
    #[arg(long, value_name = "NAME")]
    pub(crate) servername: Option<String>,
    /// Accepts only a broker with this certificate (64 hexadecimal digits) or public key (sha256//BASE64), and any such.
    /// May be repeated.
    #[arg(long, value_name = "SHA256")]
    pub(crate) pin: Vec<String>,
    /// DANGEROUS: accepts any certificate, so that anybody on the way can read and change everything. --pin is safe.
    #[arg(long, conflicts_with = "pin")]
    pub(crate) insecure: bool,
    /// Takes the host for a domain and looks its brokers up (DNS SRV: _mqtt._tcp, with TLS _secure-mqtt._tcp).
    #[arg(short = 'S', long)]
    pub(crate) srv: bool,
    /// Path and query of the WebSocket, in place of the URL's. Default: /mqtt.
    #[arg(long, value_name = "PATH")]
    pub(crate) ws_path: Option<String>,
    /// Header for the request that opens the WebSocket: 'Name: value'. May be repeated.
    #[arg(long, value_name = "HEADER", hide_env_values = true)]
    pub(crate) ws_header: Vec<String>,
    /// Connects through this proxy: http://user:password@host:port, https:// or socks5h://. Default: what the environment
    /// says, as for curl: mqtt_proxy, mqtts_proxy, ws_proxy or http_proxy, wss_proxy or https_proxy; all_proxy; no_proxy.
    #[arg(long, value_name = "URL", hide_env_values = true)]
    pub(crate) proxy: Option<String>,
    /// Hosts that are reached without the proxies of the environment, in place of no_proxy: '.plant.example,10.0.0.0/8';
    /// '*' is all of them. This machine is in any case.
    #[arg(long, value_name = "HOSTS", conflicts_with = "proxy")]
    pub(crate) noproxy: Option<String>,
    #[arg(long, hide = true, value_name = "FORM")]
    pub(crate) keyform: Option<String>,
}
