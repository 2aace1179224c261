//! `[subscriptions]`: how many event streams a process holds, and how much of each log for them.

use counterfoil_consumers::subscriptions::{SubscriptionOptions, WindowLimits};
use serde::Deserialize;

use super::check::Checks;

/// Event streams: SSE and WebSocket.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SubscriptionsConfig {
    /// At one time, in this process.
    pub streams_max: usize,
    /// Of them, of one tenant's log.
    pub streams_per_tenant_max: usize,
    /// Of them, of one caller.
    pub streams_per_principal_max: usize,
    /// Latest events of each log with streams that are held; a stream that is further behind is dropped as slow.
    pub window_events_max: usize,
    /// Bytes of them.
    pub window_bytes_max: usize,
}

impl Default for SubscriptionsConfig {
    fn default() -> Self {
        let options = SubscriptionOptions::default();
        Self {
            streams_max: options.streams_max,
            streams_per_tenant_max: options.streams_per_tenant_max,
            streams_per_principal_max: options.streams_per_principal_max,
            window_events_max: options.window.events_max,
            window_bytes_max: options.window.bytes_max,
        }
    }
}

impl SubscriptionsConfig {
    pub(super) fn check(&self, checks: &mut Checks) {
        let streams = [
            ("subscriptions.streams_max", self.streams_max),
            (
                "subscriptions.streams_per_tenant_max",
                self.streams_per_tenant_max,
            ),
            (
                "subscriptions.streams_per_principal_max",
                self.streams_per_principal_max,
            ),
        ];
        for (key, value) in streams {
            checks.within(key, value, 1..=100_000);
        }
        checks.within(
            "subscriptions.window_events_max",
            self.window_events_max,
            64..=1_000_000,
        );
        checks.within(
            "subscriptions.window_bytes_max",
            self.window_bytes_max,
            1 << 16..=1 << 32,
        );
    }

    /// The limits as the fan-out takes them.
    #[must_use]
    pub fn options(&self) -> SubscriptionOptions {
        SubscriptionOptions {
            streams_max: self.streams_max,
            streams_per_tenant_max: self.streams_per_tenant_max,
            streams_per_principal_max: self.streams_per_principal_max,
            window: WindowLimits {
                events_max: self.window_events_max,
                bytes_max: self.window_bytes_max,
            },
        }
    }
}
