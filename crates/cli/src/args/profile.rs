//! Options of `pub`, `sub` and `rr` that say where other options come from, and where packets go.

use std::path::PathBuf;

use clap::Args;

/// Profiles and taps.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ProfileArgs {
    /// Takes options that are neither given nor in the environment from this profile of the configuration file.
    #[arg(long, value_name = "NAME")]
    #[allow(dead_code, reason = "read before the command line is parsed")]
    pub(crate) profile: Option<String>,
    /// Configuration file. Default: postrider/config.toml in $XDG_CONFIG_HOME, ~/.config or %APPDATA%.
    #[arg(long, value_name = "PATH", requires = "profile")]
    #[allow(dead_code, reason = "read before the command line is parsed")]
    pub(crate) config: Option<PathBuf>,
    /// Writes every packet, both ways, to this file, which `postrider packets` prints. Passwords are not written.
    #[arg(long, value_name = "PATH")]
    pub(crate) tap: Option<PathBuf>,
}
