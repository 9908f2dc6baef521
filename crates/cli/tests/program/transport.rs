//! Options for TLS, WebSocket and proxies. Against the programs of others: `tests/lanes/transports.sh`.

use std::{path::PathBuf, process::Command};

use tempfile::TempDir;

use crate::process::{Broker, Program, command, run};

/// A broker with TLS, and its files.
struct Secure {
    folder: TempDir,
    broker: Program,
    url: String,
}

#[test]
fn a_broker_and_its_clients_speak_tls() {
    let secure = Secure::start(&[]);
    let ca = secure.path("ca.pem");
    let ca = ca.to_str().unwrap();
    secure.publish(&["--cafile", ca]).check(0, &[]);
    secure.publish(&["--capath", secure.folder.path().to_str().unwrap()]).check(0, &[]);
    secure.publish(&["--cafile", ca, "--tls-version", "tlsv1.3"]).check(0, &[]);
    secure.publish(&["--insecure"]).check(0, &[]);
    secure.publish(&[]).check(1, &["no secure connection", "pin"]);
    secure
        .publish(&["--cafile", ca, "--servername", "b.example"])
        .check(1, &["not for 'b.example'"]);
    let port = secure.url.rsplit_once(':').unwrap().1;
    let line = ["pub", "-h", "localhost", "-p", port, "-t", "a", "-m", "x", "-q", "1"];
    run(&[&line[..], &["--cafile", ca]].concat()).check(0, &[]);
    let url = secure.url.replace("mqtts", "mqtt");
    run(&["pub", "--url", &url, "-t", "a", "-m", "x", "--cafile", ca]).check(0, &[]);
}

#[test]
fn a_client_certificate_and_the_password_of_its_key() {
    let secure = Secure::start(&["--client-cafile", "ca.pem"]);
    secure.openssl("genrsa -out own.key 2048");
    secure.openssl("req -new -key own.key -subj /CN=own -out own.csr");
    secure.openssl("x509 -req -in own.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile v3.txt -out own.pem");
    secure.openssl("pkcs8 -topk8 -in own.key -passout pass:hush -out locked.key");
    secure.openssl("pkcs12 -export -in own.pem -inkey own.key -passout pass:hush -out own.p12");
    std::fs::write(secure.path("password"), "hush\nmore\n").unwrap();
    let given = |options: &[&str]| {
        let mut line = vec!["--cafile".to_owned(), secure.file("ca.pem")];
        let path = |option: &&str| match option.contains('.') || *option == "password" {
            true => secure.file(option),
            false => (*option).to_owned(),
        };
        line.extend(options.iter().map(path));
        line
    };
    let run = |options: &[&str]| {
        let line = given(options);
        secure.publish(&line.iter().map(String::as_str).collect::<Vec<_>>())
    };
    run(&[]).check(1, &["wants a client certificate"]);
    run(&["--cert", "own.pem", "--key", "own.key"]).check(0, &[]);
    let locked = ["--cert", "own.pem", "--key", "locked.key"];
    run(&locked).check(1, &["is encrypted, and no password was given"]);
    run(&[&locked[..], &["--keypass", "hush"]].concat()).check(0, &[]);
    run(&[&locked[..], &["--keypass-file", "password"]].concat()).check(0, &[]);
    let wrong = run(&[&locked[..], &["--keypass", "guess"]].concat());
    wrong.check(1, &["cannot be opened with this password"]);
    assert!(!wrong.err.contains("guess"), "{}", wrong.err);
    run(&["--pkcs12", "own.p12", "--keypass", "hush"]).check(0, &[]);
    let line = given(&["--pkcs12", "own.p12"]);
    let mut program = command(&["pub", "--url", &secure.url, "-t", "a", "-m", "x", "-q", "1"]);
    program.args(&line).env("POSTRIDER_KEYPASS", "hush");
    Program::spawn(&mut program).end().check(0, &[]);
}

#[test]
fn websocket_with_path_and_header() {
    let mut secure = Secure::start(&["--listen", "ws://127.0.0.1:0/mqtt"]);
    let line = secure.broker.line();
    let url = line.strip_prefix("listening on ").unwrap();
    let publish = |url: &str, options: &[&str]| {
        run(&[&["pub", "--url", url, "-t", "a", "-m", "x", "-q", "1"], options].concat())
    };
    publish(url, &[]).check(0, &[]);
    publish(url, &["--ws-header", "X-Key: value"]).check(0, &[]);
    publish(url, &["--ws-path", "/other"]).check(1, &["404", "the path may be wrong"]);
    publish(url, &["--ws-header", "no colon"]).check(2, &["--ws-header: write 'Name: value'"]);
    let port = url.rsplit_once(':').unwrap().1.split('/').next().unwrap();
    run(&["pub", "--ws", "-p", port, "-t", "a", "-m", "x", "-q", "1"]).check(0, &[]);
}

/// Against a name server of a test: `crates/net/tests/srv.rs`.
#[test]
fn a_domain_without_servers_is_told() {
    let ended = run(&["pub", "-S", "-h", "nowhere.invalid", "-t", "a", "-m", "x"]);
    ended.check(1, &["'_mqtt._tcp.nowhere.invalid.' cannot be resolved"]);
}

#[test]
fn wrong_values_are_named() {
    for (options, part) in [
        (&["--tls-version", "tlsv1.1"][..], "--tls-version: TLS version 'tlsv1.1' is not offered"),
        (&["--tls-version", "9"], "'9' is not a version of TLS"),
        (&["--pin", "abc"], "--pin: 'abc' is not a pin"),
        (&["--proxy", "ftp://ann:hush@h"], "--proxy: not the URL of a proxy"),
        (&["--keyform", "engine"], "--keyform engine: "),
        (&["--cert", "a"], "--key"),
        (&["--insecure", "--pin", "a"], "cannot be used with"),
    ] {
        let ended = run(&[&["pub", "-t", "a", "-m", "x"], options].concat());
        ended.check(2, &[part]);
        assert!(!ended.err.contains("hush"), "{}", ended.err);
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = format!("socks5h://ann:hush@{free}");
    let ended = run(&["pub", "-t", "a", "-m", "x", "--proxy", &proxy]);
    ended.check(1, &[&format!("the proxy socks5h://{free} cannot be reached")]);
    assert!(!ended.err.contains("hush"), "{}", ended.err);
}

/// SIGHUP: new connections have the new certificate, those that stand go on; a wrong file changes nothing and is told.
#[cfg(unix)]
#[test]
fn certificates_are_read_again_on_sighup() {
    let mut secure = Secure::start(&["--listen", "tcp://127.0.0.1:0"]);
    let plain = secure.broker.line().rsplit_once(':').unwrap().1.to_owned();
    assert!(secure.broker.line().starts_with("open files: "));
    let hangup = |secure: &mut Secure| {
        secure.broker.signal(rustix::process::Signal::HUP);
        secure.broker.line()
    };
    let (first, ca) = (pin(&secure), secure.file("ca.pem"));
    run(&["pub", "-p", &plain, "-t", "ready", "-m", "go", "-r", "-q", "1"]).check(0, &[]);
    let line = ["sub", "--url", &secure.url, "--cafile", &ca, "-t", "ready", "-t", "b", "-C", "2"];
    let mut standing = Program::start(&line);
    assert_eq!(standing.line(), "go");
    secure.openssl("genrsa -out server.key 2048");
    // A key without its certificate.
    let told = hangup(&mut secure);
    assert!(told.contains("keeps its certificate: the key 'server.key' does not match"), "{told}");
    secure.publish(&["--pin", &first]).check(0, &[]);
    secure.openssl("req -new -key server.key -subj /CN=server -out server.csr");
    secure.openssl("x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile v3.txt -out server.pem");
    assert_eq!(hangup(&mut secure), "certificates: read again");
    secure.publish(&["--pin", &first]).check(1, &["is not the pinned one"]);
    secure.publish(&["--pin", &pin(&secure)]).check(0, &[]);
    run(&["pub", "-p", &plain, "-t", "b", "-m", "still there", "-q", "1"]).check(0, &[]);
    standing.end().check_out(&["still there"]);
}

/// A list of the authority at each end: nobody is on it, then both are.
#[test]
fn revoked_certificates_are_refused_at_both_ends() {
    let secure = Secure::start(&["--client-cafile", "ca.pem", "--client-crlfile", "clients.crl"]);
    let publish = |list: &str, key: &str| {
        secure.publish(&[
            "--cafile",
            &secure.file("ca.pem"),
            "--crlfile",
            &secure.file(list),
            "--cert",
            &secure.file(&format!("{key}.pem")),
            "--key",
            &secure.file(&format!("{key}.key")),
        ])
    };
    publish("none.crl", "good").check(0, &[]);
    publish("none.crl", "bad").check(1, &["certificate revoked"]);
    publish("server.crl", "good").check(1, &["was revoked by its authority"]);
    secure.publish(&["--crlfile", "no.crl"]).check(1, &["no.crl"]);
}

/// Proxies of the environment, as for curl; not under Mosquitto's names.
#[test]
fn proxies_of_the_environment_count_as_for_curl() {
    let broker = Broker::start(&[]);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = format!("socks5h://ann:hush@{free}");
    let line = |host| {
        let args = ["pub", "-h", host, "-p", &broker.port, "-t", "a", "-m", "x", "-q", "1"];
        let mut program = command(&args);
        program.env("ALL_PROXY", &proxy);
        program
    };
    let other = "broker.invalid";
    let ended = Program::spawn(&mut line(other)).end();
    ended.check(1, &[&format!("the proxy socks5h://{free} cannot be reached")]);
    assert!(!ended.err.contains("hush"), "{}", ended.err);
    let unknown = ["host 'broker.invalid' cannot be resolved"];
    Program::spawn(line(other).env("no_proxy", "broker.invalid")).end().check(1, &unknown);
    Program::spawn(line(other).args(["--noproxy", "*"])).end().check(1, &unknown);
    Program::spawn(&mut line("127.0.0.1")).end().check(0, &[]);
    Program::spawn(line(other).env("mqtt_proxy", "ftp://ann:hush@h"))
        .end()
        .check(2, &["the environment variable mqtt_proxy: not the URL of a proxy"]);
    #[cfg(unix)]
    {
        let args = ["-p", &broker.port, "-t", "a", "-m", "x", "-q", "1"];
        let mut program = crate::process::command_named("mosquitto_pub", &args);
        Program::spawn(program.env("ALL_PROXY", &proxy)).end().check(0, &[]);
    }
}

/// `check`, `bench` and `demo` have the options of `pub` in the same words.
#[test]
fn judges_and_the_demonstration_speak_tls_too() {
    let secure = Secure::start(&["--client-cafile", "ca.pem"]);
    secure.openssl("genrsa -out own.key 2048");
    secure.openssl("req -new -key own.key -subj /CN=own -out own.csr");
    secure.openssl("x509 -req -in own.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile v3.txt -out own.pem");
    let files = [secure.file("ca.pem"), secure.file("own.pem"), secure.file("own.key")];
    let tls = ["--cafile", &files[0], "--cert", &files[1], "--key", &files[2]];
    for verb in [
        &["check", "--only", "a second CONNECT"][..],
        &["bench", "p2p", "-m", "100", "-q", "1"],
        &["demo", "--messages", "100", "--largest", "1000"],
    ] {
        let line = [verb, &["--url", &secure.url]].concat();
        run(&[&line[..], &tls].concat()).check(0, &[]);
        // In TLS 1.3 the server judges our certificate behind the handshake.
        assert_eq!(run(&[&line[..], &tls[..2]].concat()).status, Some(1), "{verb:?}");
        let ended = run(&line);
        let said = format!("{} {}", ended.out.join(" "), ended.err);
        assert!(said.contains("which is not trusted"), "{verb:?}: {said}");
    }
    run(&["demo", "--insecure"]).check(2, &["need a --url"]);
}

impl Secure {
    fn start(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let openssl = |line: &str| openssl(&folder, line);
        openssl(
            "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=CA -days 2",
        );
        openssl("genrsa -out server.key 2048");
        openssl("req -new -key server.key -subj /CN=server -out server.csr");
        std::fs::write(folder.path().join("v3.txt"), "subjectAltName=DNS:localhost").unwrap();
        openssl(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile v3.txt -out server.pem",
        );
        if options.contains(&"clients.crl") {
            lists(&folder);
        }
        let mut program = command(&["broker", "--listen", "mqtts://127.0.0.1:0"]);
        program.args(["--cert", "server.pem", "--key", "server.key"]).args(options);
        let mut broker = Program::spawn(program.current_dir(folder.path()));
        let line = broker.line();
        let url = line.strip_prefix("listening on ").unwrap().replace("127.0.0.1", "localhost");
        Self { folder, broker, url }
    }

    fn publish(&self, options: &[&str]) -> crate::process::Ended {
        run(&[&["pub", "--url", &self.url, "-t", "a", "-m", "x", "-q", "1"], options].concat())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn openssl(&self, line: &str) {
        openssl(&self.folder, line);
    }
}

/// Certificates for a good client and a bad one, and the authority's lists: of the bad client, of the server, of nobody.
fn lists(folder: &TempDir) {
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "ca.conf",
        "[ca]\ndefault_ca=own\n[own]\ndatabase=index.txt\ndefault_md=sha256\ncrlnumber=number.txt\n\
         crl_extensions=lists\n[lists]\nauthorityKeyIdentifier=keyid\n",
    );
    write("number.txt", "01\n");
    for key in ["good", "bad"] {
        openssl(folder, &format!("genrsa -out {key}.key 2048"));
        openssl(folder, &format!("req -new -key {key}.key -subj /CN={key} -out {key}.csr"));
        openssl(
            folder,
            &format!(
                "x509 -req -in {key}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile v3.txt -out {key}.pem"
            ),
        );
    }
    let ca = "ca -config ca.conf -keyfile ca.key -cert ca.pem";
    for (list, revoked) in [("none", None), ("clients", Some("bad")), ("server", Some("server"))] {
        write("index.txt", "");
        if let Some(revoked) = revoked {
            openssl(folder, &format!("{ca} -revoke {revoked}.pem"));
        }
        openssl(folder, &format!("{ca} -gencrl -crldays 2 -out {list}.crl"));
    }
}

/// The pin of the server's certificate.
#[cfg(unix)]
fn pin(secure: &Secure) -> String {
    secure.openssl("x509 -in server.pem -outform DER -out server.der");
    secure.openssl("dgst -sha256 -r -out server.sum server.der");
    let sum = std::fs::read_to_string(secure.path("server.sum")).unwrap();
    sum.split(' ').next().unwrap().to_owned()
}

fn openssl(folder: &TempDir, line: &str) {
    let output = Command::new("openssl").args(line.split(' ')).current_dir(folder).output();
    let output = output.expect("these tests need the program openssl");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {line}: {text}");
}
