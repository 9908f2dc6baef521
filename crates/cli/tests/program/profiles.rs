//! Named profiles in a configuration file.

use std::{fs, path::PathBuf};

use crate::process::{Broker, Ended, Program, command, run};

/// A configuration file in a folder of its own.
struct Config(tempfile::TempDir);

impl Config {
    fn new(text: &str) -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        fs::create_dir(this.0.path().join("postrider")).unwrap();
        fs::write(this.path(), text).unwrap();
        this
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("postrider").join("config.toml")
    }

    fn beside(&self, name: &str, text: &str) {
        fs::write(self.path().with_file_name(name), text).unwrap();
    }

    /// Runs the program where this is the usual configuration.
    fn run(&self, args: &[&str]) -> Ended {
        self.run_in(args, &[])
    }

    fn run_in(&self, args: &[&str], variables: &[(&str, &str)]) -> Ended {
        let mut command = command(args);
        command.env("XDG_CONFIG_HOME", self.0.path()).env("APPDATA", self.0.path());
        command.envs(variables.iter().copied());
        Program::spawn(&mut command).end()
    }
}

#[test]
fn keys_of_a_profile_are_options() {
    let broker = Broker::start(&[]);
    let config = Config::new(&format!(
        "[plant]\nhost = '127.0.0.1'\nport = {}\nqos = 1\nretain = true\n\
         property = ['publish content-type text/plain', 'publish user-property a b']\n\
         # Only of sub.\nverbose = true\n[other]\nport = 1\n",
        broker.port
    ));
    config.run(&["pub", "--profile", "plant", "-t", "a", "-m", "x"]).check_out(&[]);
    let sub = ["sub", "--profile", "plant", "-t", "a", "-C", "1", "--retained-only"];
    config.run(&sub).check_out(&["a x"]);
    let format = [&sub[..], &["-F", "%t %q %r %C %P"]].concat();
    config.run(&format).check_out(&["a 1 1 text/plain a:b"]);
    // From the environment, and from a file that is named.
    let variable = [("POSTRIDER_PROFILE", "plant")];
    config.run_in(&["pub", "-t", "a", "-m", "y"], &variable).check_out(&[]);
    let path = config.path();
    let named = ["--config", path.to_str().unwrap(), "--profile=plant", "-t", "a", "-C", "1"];
    run(&[&["sub"], &named[..]].concat()).check_out(&["a y"]);
}

/// The command line goes first, then the environment, then the profile.
#[test]
fn what_is_typed_goes_before_the_profile() {
    let broker = Broker::start(&[]);
    let config =
        Config::new("[p]\nport = 1\nqos = 2\nurl = 'mqtt://nowhere.invalid'\nretain = true\n");
    let publish = ["pub", "--profile", "p", "-t", "a", "-m", "x", "-p", &broker.port, "-q", "0"];
    let retain = [("POSTRIDER_RETAIN", "0"), ("POSTRIDER_HOST", "127.0.0.1")];
    let mut subscriber = broker.subscriber(&["-t", "a", "-q", "2"]);
    config.run_in(&publish, &retain).check_out(&[]);
    assert_eq!(subscriber.line(), "a x");
    // Not retained: the environment said no.
    let sub = ["-t", "a", "-t", "ready", "-C", "1", "--retained-only", "-v"];
    broker.run("sub", &sub).check_out(&["ready go"]);
}

#[test]
fn secrets_come_from_a_file_or_from_the_environment() {
    let broker = Broker::start(&["--user", "ann:hush"]);
    let head = format!("port = {}\nusername = 'ann'\n", broker.port);
    let config = Config::new(&format!(
        "[file]\n{head}password_file = 'secret'\n[env]\n{head}password_env = 'PLANT_SECRET'\n\
         [plain]\n{head}password = 'hush'\n[wrong]\n{head}password = 'loud'\n"
    ));
    config.beside("secret", "hush\nmore\n");
    let publish = |profile| ["pub", "--profile", profile, "-t", "a", "-m", "x", "-q", "1"];
    config.run(&publish("file")).check_out(&[]);
    config.run(&publish("plain")).check_out(&[]);
    config.run(&publish("wrong")).check(134, &[]);
    config.run_in(&publish("env"), &[("PLANT_SECRET", "hush")]).check_out(&[]);
    config
        .run(&publish("env"))
        .check(2, &["'password_env'", "no environment variable PLANT_SECRET"]);
    let ended = config.run_in(&publish("env"), &[("PLANT_SECRET", "loud-and-clear")]);
    ended.check(134, &[]);
    assert!(!ended.err.contains("loud-and-clear"));
}

/// Wherever the program is started.
#[test]
fn paths_are_from_the_folder_of_the_configuration_file() {
    let broker = Broker::start(&[]);
    let config = Config::new(&format!(
        "[p]\nport = {0}\nfile = 'words'\ntap = 'a.tap'\n[q]\nport = {0}\ncafile = 'ca.pem'\n\
         [r]\nport = {0}\nusername = 'ann'\npw-file = 'secret'\nstore = 'spool'\n",
        broker.port
    ));
    config.beside("words", "beside");
    config.beside("secret", "hush\n");
    config.run(&["pub", "--profile", "p", "-t", "a", "-r", "-q", "1"]).check_out(&[]);
    broker.run("sub", &["-t", "a", "-C", "1"]).check_out(&["beside"]);
    assert!(config.path().with_file_name("a.tap").exists());
    let ca = config.path().with_file_name("ca.pem");
    let ended = config.run(&["pub", "--profile", "q", "-t", "a", "-m", "x"]);
    ended.check(1, &[ca.to_str().unwrap()]);
    config.run(&["pub", "--profile", "r", "-t", "a", "-m", "x"]).check_out(&[]);
    assert!(config.path().with_file_name("spool").is_dir());
    // A whole path stays, and so does what is typed.
    let whole = config.path().with_file_name("whole");
    let other =
        Config::new(&format!("[p]\nport = {}\nfile = '{}'\n", broker.port, whole.display()));
    config.beside("whole", "whole");
    other.run(&["pub", "--profile", "p", "-t", "a", "-r", "-q", "1"]).check_out(&[]);
    broker.run("sub", &["-t", "a", "-C", "1"]).check_out(&["whole"]);
    let ended = config.run(&["pub", "--profile", "p", "-t", "a", "-f", "words"]);
    ended.check(1, &["--file 'words'"]);
}

#[test]
fn what_is_wrong_with_a_file_is_named() {
    let config = Config::new(
        "top = 1\n[p]\nhots = 'a'\n[q]\nport = 'many'\n[r]\nretain = 3\n[s]\nhost = ['a']\n[t]\nprofile = 'p'\n\
         [u]\npin = 'x'\n[v]\nurl = 'quic://h'\n[w]\npassword = 'x'\n[x]\nusername = 'a'\npassword_file = 'no'\n",
    );
    for (profile, parts) in [
        ("p", &["profile 'p' in '", "config.toml': 'hots': unknown key"][..]),
        ("q", &["'many' for '--port <PORT>'", "note: --port comes from profile 'q' in '"]),
        ("r", &["'retain': it is true or false"]),
        ("s", &["'host': it has one value"]),
        ("t", &["'profile': unknown key"]),
        ("top", &["'top' is no profile; one begins with [top]"]),
        ("none", &["--profile 'none'", "no such profile, but: p, q, r, s, t, u, v, w, x\n"]),
        ("u", &["--pin: 'x' is not a pin", "note: --pin comes from profile 'u' in '"]),
        ("v", &["--url: scheme 'quic'", "note: --url comes from profile 'v' in '"]),
        ("w", &["a password (--pw) needs", "note: --pw comes from profile 'w' in '"]),
    ] {
        let ended = config.run(&["pub", "--profile", profile, "-t", "a", "-m", "x"]);
        ended.check(2, parts);
    }
    let ended = config.run(&["pub", "--profile", "x", "-t", "a", "-m", "x"]);
    ended.check(1, &["error: --pw-file '", "note: --pw-file comes from profile 'x' in '"]);
    let broken = Config::new("[p\n");
    broken.run(&["pub", "--profile", "p", "-t", "a", "-n"]).check(2, &["config.toml'", "line 1"]);
    let none = Config::new("");
    fs::remove_file(none.path()).unwrap();
    none.run(&["pub", "--profile", "p", "-t", "a", "-n"]).check(2, &["config.toml'"]);
    run(&["pub", "--config", "x", "-t", "a", "-n"]).check(2, &["--profile <NAME>"]);
    // Without --profile nobody reads it.
    let broker = Broker::start(&[]);
    broken.run(&broker.args("pub", &["-t", "a", "-m", "x"])).check_out(&[]);
}
