//! The models that callers may name, and who serves each: made from `[gateway]` of the configuration.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use counterfoil_events::text::{ModelName, TextError};
use secrecy::SecretString;

use super::prices::{DEFAULT_TABLE, PriceError, PriceTable};
use super::upstream::Provider;
use super::upstream::demo::{self, DemoProvider};
use super::upstream::openai::{OpenAiProvider, OpenAiSettings, ProviderSetupError};
use super::upstream::retry::RetryLimits;
use super::upstream::stream::AnswerLimits;
use crate::config::{GatewayConfig, ModelConfig, UpstreamConfig};
use crate::signing::{self, KeyFileError};

/// The gateway cannot be set up as configured.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A name that events could not hold.
    #[error("{key}: {source}")]
    Name {
        /// Which setting.
        key: String,
        /// What is wrong.
        source: TextError,
    },
    /// A model whose provider is not configured.
    #[error(
        "model {model}: there is no upstream {upstream}; add it, or set gateway.demo_provider for `demo`"
    )]
    NoUpstream {
        /// Which model.
        model: ModelName,
        /// Whose provider.
        upstream: String,
    },
    /// A provider that cannot be set up.
    #[error(transparent)]
    Provider(#[from] ProviderSetupError),
    /// A provider's key in a file.
    #[error("upstream {upstream}: {source}")]
    KeyFile {
        /// Whose.
        upstream: String,
        /// What is wrong.
        source: KeyFileError,
    },
    /// The price table.
    #[error(transparent)]
    Prices(#[from] PriceError),
}

/// A model on offer.
#[derive(Clone)]
pub struct Model {
    /// What callers write.
    pub name: ModelName,
    /// What its provider calls it.
    pub upstream_model: ModelName,
    /// Who answers.
    pub provider: Arc<dyn Provider>,
    /// Most tokens in and out together.
    pub context_window_tokens: u64,
    /// Most tokens of one answer.
    pub max_output_tokens: u64,
}

/// All models on offer, and what they cost.
pub struct Catalogue {
    models: BTreeMap<ModelName, Arc<Model>>,
    /// The dated prices.
    pub prices: PriceTable,
    /// Longest that any call may take.
    pub longest_call: Duration,
}

impl Catalogue {
    /// From the configuration. Where no models are named, the demo provider's own are offered.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub fn from_config(config: &GatewayConfig) -> Result<Self, SetupError> {
        let mut providers: BTreeMap<String, Arc<dyn Provider>> = BTreeMap::new();
        if config.demo_provider {
            providers.insert(demo::NAME.as_str().to_owned(), Arc::new(DemoProvider));
        }
        for upstream in &config.upstreams {
            let provider = OpenAiProvider::new(settings(upstream)?)?;
            providers.insert(upstream.name.clone(), Arc::new(provider));
        }
        let prices = match &config.prices_file {
            Some(path) => PriceTable::read(path)?,
            None => PriceTable::parse(DEFAULT_TABLE)?,
        };
        let longest_call = providers
            .values()
            .map(|provider| provider.total_timeout())
            .max()
            .unwrap_or_default();
        let mut models = BTreeMap::new();
        let demo_models = if config.models.is_empty() && config.demo_provider {
            demo_models()
        } else {
            Vec::new()
        };
        for model in config.models.iter().chain(&demo_models) {
            let model = read_model(model, &providers)?;
            models.insert(model.name.clone(), Arc::new(model));
        }
        Ok(Self {
            models,
            prices,
            longest_call,
        })
    }

    /// The model of this name.
    #[must_use]
    pub fn find(&self, name: &ModelName) -> Option<&Arc<Model>> {
        self.models.get(name)
    }

    /// All models, by name.
    pub fn models(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.models.values()
    }
}

fn read_model(
    config: &ModelConfig,
    providers: &BTreeMap<String, Arc<dyn Provider>>,
) -> Result<Model, SetupError> {
    let name: ModelName = named("gateway.models.name", &config.name)?;
    let upstream_model = config.upstream_model.as_ref().unwrap_or(&config.name);
    let no_upstream = || SetupError::NoUpstream {
        model: name.clone(),
        upstream: config.upstream.clone(),
    };
    Ok(Model {
        provider: Arc::clone(providers.get(&config.upstream).ok_or_else(no_upstream)?),
        upstream_model: named("gateway.models.upstream_model", upstream_model)?,
        name,
        context_window_tokens: config.context_window_tokens,
        max_output_tokens: config.max_output_tokens,
    })
}

/// What the demo provider offers when nothing else is said.
fn demo_models() -> Vec<ModelConfig> {
    let model = |name: &str, max_output_tokens| ModelConfig {
        name: name.to_owned(),
        upstream: demo::NAME.as_str().to_owned(),
        upstream_model: None,
        context_window_tokens: 131_072,
        max_output_tokens,
    };
    vec![model("demo-small", 4_096), model("demo-large", 16_384)]
}

fn settings(upstream: &UpstreamConfig) -> Result<OpenAiSettings, SetupError> {
    let limits = AnswerLimits {
        idle: Duration::from_millis(upstream.idle_timeout_ms),
        total: Duration::from_millis(upstream.total_timeout_ms),
        bytes: upstream.answer_bytes_max,
    };
    Ok(OpenAiSettings {
        name: named("gateway.upstreams.name", &upstream.name)?,
        base_url: upstream.base_url.clone(),
        api_key: api_key(upstream)?,
        max_tokens_field: upstream.max_tokens_field.into(),
        connect_timeout: Duration::from_millis(upstream.connect_timeout_ms),
        first_token_timeout: Duration::from_millis(upstream.first_chunk_timeout_ms),
        limits,
        retry: RetryLimits {
            attempts: u16::try_from(upstream.attempts_max).unwrap_or(u16::MAX),
            budget: Duration::from_millis(upstream.retry_budget_ms),
        },
    })
}

/// As configured, or from the file that is named.
fn api_key(upstream: &UpstreamConfig) -> Result<Option<SecretString>, SetupError> {
    let Some(path) = &upstream.api_key_file else {
        return Ok(upstream.api_key.clone());
    };
    let read = signing::load_text(path).map_err(|source| SetupError::KeyFile {
        upstream: upstream.name.clone(),
        source,
    });
    read.map(Some)
}

fn named<T: std::str::FromStr<Err = TextError>>(key: &str, text: &str) -> Result<T, SetupError> {
    text.parse().map_err(|source| SetupError::Name {
        key: format!("{key} {text:?}"),
        source,
    })
}

impl From<crate::config::MaxTokensField> for super::wire::request::MaxTokensField {
    fn from(field: crate::config::MaxTokensField) -> Self {
        match field {
            crate::config::MaxTokensField::MaxTokens => Self::MaxTokens,
            crate::config::MaxTokensField::MaxCompletionTokens => Self::MaxCompletionTokens,
        }
    }
}
