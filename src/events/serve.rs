//! Events of the server.

use super::{Event, Level};

/// It is known where the model is computed.
pub struct DeviceFound {
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Weights are rounded to bf16.
    pub bf16: bool,
    /// Why it is not another one.
    pub reason: Option<&'static str>,
}

impl Event for DeviceFound {
    const NAME: &'static str = "device_found";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        let dtype = if self.bf16 { "bf16" } else { "f32" };
        match self.reason {
            None => format!("computing on {} in {dtype}", self.device),
            Some(reason) => format!("computing on {} in {dtype}: {reason}", self.device),
        }
    }
}

/// The server answers requests.
pub struct ServerReady {
    /// Where it listens.
    pub address: String,
    /// The weights version it answers with.
    pub version: u64,
}

impl Event for ServerReady {
    const NAME: &'static str = "server_ready";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        format!("listening on {} with weights version {}", self.address, self.version)
    }
}

/// How replies are drawn where requests do not say.
pub struct SamplingDefaults {
    /// Each parameter with its value and where that comes from.
    pub settled: String,
    /// A repetition penalty that the model asks for, and that does not hold: no turn with one is
    /// trained on.
    pub penalty_left_out: Option<f32>,
}

impl Event for SamplingDefaults {
    const NAME: &'static str = "sampling_defaults";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        let settled = &self.settled;
        match self.penalty_left_out {
            None => format!("replies are drawn with {settled}"),
            Some(penalty) => format!(
                "replies are drawn with {settled}; the model asks for a repetition_penalty of \
                 {penalty}, which is left out so that turns can be trained on (set \
                 `repetition_penalty` to have it)"
            ),
        }
    }
}

/// A turn stands in the store.
pub struct TurnRecorded {
    /// The turn.
    pub turn: String,
    /// Tokens of its prompt.
    pub prompt_tokens: usize,
    /// Tokens of its reply.
    pub response_tokens: usize,
}

impl Event for TurnRecorded {
    const NAME: &'static str = "turn_recorded";
    const LEVEL: Level = Level::Debug;

    fn line(&self) -> String {
        let Self { turn, prompt_tokens, response_tokens } = self;
        format!("turn {turn}: {prompt_tokens} tokens read, {response_tokens} sampled")
    }
}

/// A turn was answered, but could not be written to the store: it will not be learned from.
pub struct TurnNotRecorded {
    /// The turn.
    pub turn: String,
    /// Why.
    pub reason: String,
}

impl Event for TurnNotRecorded {
    const NAME: &'static str = "turn_not_recorded";
    const LEVEL: Level = Level::Error;

    fn line(&self) -> String {
        format!("turn {} was answered but not recorded: {}", self.turn, self.reason)
    }
}

/// A turn was answered and left out of the store, as asked.
pub struct TurnNotKept {
    /// The turn.
    pub turn: String,
}

impl Event for TurnNotKept {
    const NAME: &'static str = "turn_not_kept";
    const LEVEL: Level = Level::Debug;

    fn line(&self) -> String {
        format!("turn {} is not to be recorded", self.turn)
    }
}

/// The server answered a command of a user's.
pub struct CommandAnswered {
    /// The turn.
    pub turn: String,
    /// Whether it stands in the store.
    pub recorded: bool,
}

impl Event for CommandAnswered {
    const NAME: &'static str = "command_answered";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        let outcome = if self.recorded { "recorded" } else { "could not be recorded" };
        format!("turn {}: a command was answered and {outcome}", self.turn)
    }
}

/// A verdict on a reply stands in the store.
pub struct FeedbackRecorded {
    /// The turn that was rated.
    pub turn: String,
    /// `up` or `down`.
    pub rating: &'static str,
}

impl Event for FeedbackRecorded {
    const NAME: &'static str = "feedback_recorded";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        format!("turn {} was rated {}", self.turn, self.rating)
    }
}

/// A reply has ended.
pub struct ReplyServed {
    /// What asked for it.
    pub route: &'static str,
    /// Tokens of its prompt.
    pub prompt_tokens: usize,
    /// Those of them that did not have to be computed.
    pub cached_tokens: usize,
    /// Tokens that were sampled for it.
    pub tokens: usize,
    /// Milliseconds from the request to the first of them.
    pub first_token_ms: Option<u128>,
    /// The longest time between two of them, in milliseconds.
    pub worst_gap_ms: Option<u128>,
    /// Milliseconds from the request to the end.
    pub whole_ms: u128,
    /// How it ended.
    pub outcome: &'static str,
}

impl Event for ReplyServed {
    const NAME: &'static str = "reply_served";
    const LEVEL: Level = Level::Debug;

    fn line(&self) -> String {
        let ms = |ms: Option<u128>| ms.map_or_else(|| "-".to_owned(), |ms| ms.to_string());
        format!(
            "{}: {} tokens read ({} cached), {} sampled, first after {} ms, worst gap {} ms, {} \
             after {} ms",
            self.route,
            self.prompt_tokens,
            self.cached_tokens,
            self.tokens,
            ms(self.first_token_ms),
            ms(self.worst_gap_ms),
            self.outcome,
            self.whole_ms
        )
    }
}

/// A tool call began and was none, or was cut off: it came back as text, or as a call whose
/// arguments are no JSON.
pub struct ToolCallMalformed {
    /// What asked for the reply.
    pub route: &'static str,
}

impl Event for ToolCallMalformed {
    const NAME: &'static str = "tool_call_malformed";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        format!("{}: a tool call was malformed", self.route)
    }
}

/// A client went away before its reply was complete.
pub struct ReplyCancelled {
    /// The turn.
    pub turn: String,
    /// Tokens that were sampled for it.
    pub tokens: usize,
}

impl Event for ReplyCancelled {
    const NAME: &'static str = "reply_cancelled";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        format!("turn {}: the client went away after {} tokens", self.turn, self.tokens)
    }
}

/// A reply could not be completed.
pub struct ReplyFailed {
    /// The turn.
    pub turn: String,
    /// Why.
    pub reason: String,
}

impl Event for ReplyFailed {
    const NAME: &'static str = "reply_failed";
    const LEVEL: Level = Level::Error;

    fn line(&self) -> String {
        format!("turn {} failed: {}", self.turn, self.reason)
    }
}

/// A request was refused.
pub struct RequestRefused {
    /// The HTTP status.
    pub status: u16,
    /// The error's code or family.
    pub code: String,
    /// The field at fault, if one is.
    pub param: String,
}

impl Event for RequestRefused {
    const NAME: &'static str = "request_refused";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        format!("{} {} {}", self.status, self.code, self.param)
    }
}

/// A weights version is live.
pub struct WeightsLive {
    /// The version.
    pub version: u64,
    /// Milliseconds from the request until it was live.
    pub took_ms: u128,
}

impl Event for WeightsLive {
    const NAME: &'static str = "weights_live";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        format!("weights version {} is live after {} ms", self.version, self.took_ms)
    }
}

/// A weights version could not be loaded or put live; the one before it stays.
pub struct WeightsRefused {
    /// The version.
    pub version: u64,
    /// Why.
    pub reason: String,
}

impl Event for WeightsRefused {
    const NAME: &'static str = "weights_refused";
    const LEVEL: Level = Level::Warn;

    fn line(&self) -> String {
        format!("weights version {} was refused: {}", self.version, self.reason)
    }
}

/// Requests were cut off because the server had to stop.
pub struct DrainCut {
    /// How many.
    pub requests: usize,
}

impl Event for DrainCut {
    const NAME: &'static str = "drain_cut";
    const LEVEL: Level = Level::Warn;

    fn line(&self) -> String {
        format!("{} requests were cut off at the end", self.requests)
    }
}

/// A connection was ended because its client stood still.
pub struct ConnectionCut {
    /// What took too long: `headers`, `idle` or `reader`.
    pub reason: &'static str,
}

impl Event for ConnectionCut {
    const NAME: &'static str = "connection_cut";
    const LEVEL: Level = Level::Debug;

    fn line(&self) -> String {
        format!("a connection was cut: {}", self.reason)
    }
}

/// The system gave no connection.
pub struct ConnectionRefused {
    /// What it said.
    pub reason: String,
}

impl Event for ConnectionRefused {
    const NAME: &'static str = "connection_refused";
    const LEVEL: Level = Level::Warn;

    fn line(&self) -> String {
        format!("no connection could be taken: {}", self.reason)
    }
}

/// An adapter is served.
pub struct AdapterLoaded {
    /// Its name.
    pub name: String,
}

impl Event for AdapterLoaded {
    const NAME: &'static str = "adapter_loaded";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        format!("adapter `{}` is served", self.name)
    }
}

/// An adapter is no longer served.
pub struct AdapterUnloaded {
    /// Its name.
    pub name: String,
}

impl Event for AdapterUnloaded {
    const NAME: &'static str = "adapter_unloaded";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        format!("adapter `{}` is no longer served", self.name)
    }
}

/// No steps are taken until generation goes on.
pub struct GenerationPaused;

impl Event for GenerationPaused {
    const NAME: &'static str = "generation_paused";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        "generation is paused".to_owned()
    }
}

/// Generation goes on.
pub struct GenerationResumed;

impl Event for GenerationResumed {
    const NAME: &'static str = "generation_resumed";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        "generation goes on".to_owned()
    }
}
