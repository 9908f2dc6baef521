//! Options of `postrider sub`.

use clap::{ArgAction, Args, ValueEnum};
use postrider_wire::Filter;

use crate::args::{ConnectionArgs, OutputArgs};

/// Subscribes to topics and prints the messages, one line each.
#[derive(Debug, Args)]
#[command(disable_help_flag = true, after_help = AFTER_HELP)]
pub(crate) struct SubscribeArgs {
    /// Topic filter; may be given several times. A message that fits several is printed once.
    #[arg(short, long = "topic", value_name = "FILTER", value_parser = Filter::new)]
    pub(crate) topics: Vec<Filter>,
    /// Messages that fit this filter are not printed; may be given several times.
    #[arg(short = 'T', long, value_name = "FILTER", value_parser = Filter::new)]
    pub(crate) filter_out: Vec<Filter>,
    /// Unsubscribes from this filter, for a session that the broker has kept; may be given several times.
    #[arg(short = 'U', long, value_name = "FILTER", value_parser = Filter::new)]
    pub(crate) unsubscribe: Vec<Filter>,
    /// Highest quality of service in which messages come.
    #[arg(short, long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(crate) qos: u8,
    /// Ends after this many messages; what comes behind them at QoS 1 and 2 stays with the broker.
    #[arg(short = 'C', long, value_name = "MESSAGES", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Ends after this many seconds, with exit status 27.
    #[arg(short = 'W', long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) timeout: Option<u64>,
    /// Ends as soon as the broker has taken all subscriptions.
    #[arg(short = 'E', long)]
    pub(crate) exit_after_subscribing: bool,
    /// Does not print messages that were retained before.
    #[arg(short = 'R', long)]
    pub(crate) no_retained: bool,
    /// Ends at the first message that was not retained before.
    #[arg(long)]
    pub(crate) retained_only: bool,
    /// Clears the retained messages that come, but for those of --filter-out.
    #[arg(long)]
    pub(crate) remove_retained: bool,
    /// Messages keep the retain flag with which they were published (5.0).
    #[arg(long)]
    pub(crate) retain_as_published: bool,
    /// When the broker sends retained messages (5.0): at each subscription, at a new one, or never.
    #[arg(long, value_name = "WHEN", value_enum)]
    pub(crate) retain_handling: Option<HandlingArg>,
    /// Prints only so many of a hundred messages, drawn by lot; 0.1 to 100.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub(crate) random_filter: Option<u32>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    /// Prints help.
    #[arg(long, action = ArgAction::Help)]
    pub(crate) help: Option<bool>,
}

/// When retained messages come, by the names that Mosquitto gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum HandlingArg {
    Always,
    New,
    Never,
}

/// Hundredths of a percent.
fn percent(text: &str) -> Result<u32, String> {
    let percent = text.parse::<f64>().map_err(|error| error.to_string())?;
    if !(0.1..=100.0).contains(&percent) {
        return Err("it must be within 0.1 and 100".to_owned());
    }
    Ok((percent * 100.0) as u32)
}

const AFTER_HELP: &str = "\
Examples:
  postrider sub -t 'plant/+/temp' -v
  postrider sub -L mqtt://ann@broker.example/plant/# -q 1
  postrider sub -t plant/7/state -C 1 -W 10     one message, or status 27 after 10 s
  postrider sub -i archive -c -q 2 -t 'plant/#'     also what came while it did not run
  postrider sub -t 'plant/#' -F '%I %t %x'          a format, as mosquitto_sub has it
  postrider sub -t 'plant/#' --json | jq .topic

Each option has a variable of the environment: POSTRIDER_HOST, POSTRIDER_TOPIC, ...; POSTRIDER_PASSWORD \
is the password.

Each message is printed as it came, and a line feed. The exit status is 0 after --count messages, \
SIGINT, SIGTERM, or when nobody reads the output any more; 27 if --timeout passed before; the reason code \
if the broker refused something; 1 after another error; 2 for a wrong option. A lost connection is made \
again, and standard error says so.

At QoS 1 and 2 a message is acknowledged once it is written. With --disable-clean-session the next run prints \
what this one did not write, however it ends; and after a kill perhaps the last ones once more. What a pipe \
holds is written: rather --count 1 than '| head -1'.";
