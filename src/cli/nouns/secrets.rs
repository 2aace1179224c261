//! `counterfoil secrets …`: a value comes from a file or stdin, never from the command line, which others can read.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::json;
use zeroize::Zeroizing;

use super::super::exit::CliError;
use super::Ask;
use super::call::{Call, ListArgs, ReasonArg, TenantArg, segment};

const COLUMNS: &[&str] = &["id", "purpose", ">version", "organisation"];
/// The API takes 64 KiB; one byte more is enough to be refused by it.
const VALUE_BYTES_MAX: u64 = 64 * 1024 + 2;

/// What a secret may be used for.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Purpose {
    /// Calls of a model's provider
    ProviderKey,
    /// Reads of a KRI's source
    SourceCredential,
}

/// Where a value is.
#[derive(Debug, Args)]
pub struct ValueArg {
    /// The file that holds the value; stdin, if not given. The line break at its end is left out
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Commands on secrets.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  counterfoil secrets create openai --purpose provider-key \\\n    \
    --tenant 00000000-0000-0000-0000-000000000000 < openai.key\n  \
    pass show openai | counterfoil secrets rotate openai --tenant TENANT\n  \
    counterfoil secrets retire openai --reason account_closed --tenant TENANT\n\n\
    A value is read from stdin or a file: a command line can be read by everybody on the machine, and stays in the \
    shell's history.\n\
    Providers' keys that the configuration names are the platform's own, of tenant \
    00000000-0000-0000-0000-000000000000;\na source's credential belongs to the source's tenant."
)]
pub enum SecretsCommand {
    /// Those in use, with their purposes and newest versions
    List {
        #[command(flatten)]
        tenant: TenantArg,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Store one; it cannot be read back
    Create {
        /// Its name: a-z 0-9 _ . -
        name: String,
        /// What it may be used for, and nothing else
        #[arg(long)]
        purpose: Purpose,
        #[command(flatten)]
        value: ValueArg,
        #[command(flatten)]
        tenant: TenantArg,
    },
    /// Let it be another value from now on: its next version
    Rotate {
        /// Which one
        name: String,
        #[command(flatten)]
        value: ValueArg,
        #[command(flatten)]
        tenant: TenantArg,
    },
    /// Delete every version of it, for good
    Retire {
        /// Which one
        name: String,
        #[command(flatten)]
        reason: ReasonArg,
        #[command(flatten)]
        tenant: TenantArg,
    },
}

impl Ask for SecretsCommand {
    fn call(self) -> Result<Call, CliError> {
        let one = |tenant: &TenantArg, name: &str| tenant.path(&format!("secrets/{}", segment(name)));
        Ok(match self {
            Self::List { tenant, list } => {
                Call::list(tenant.path("secrets"), &list, COLUMNS, "no secrets in use")
            }
            Self::Create {
                name,
                purpose,
                value,
                tenant,
            } => {
                let purpose = match purpose {
                    Purpose::ProviderKey => "provider_key",
                    Purpose::SourceCredential => "source_credential",
                };
                let body = json!({"name": name, "purpose": purpose, "value": *value.read()?});
                Call::command(Method::POST, tenant.path("secrets"), body)
            }
            Self::Rotate { name, value, tenant } => {
                let body = json!({"value": *value.read()?});
                Call::command(Method::PUT, one(&tenant, &name), body)
            }
            Self::Retire { name, reason, tenant } => {
                Call::command(Method::POST, one(&tenant, &name) + "/retire", reason.body())
            }
        })
    }
}

impl ValueArg {
    fn read(&self) -> Result<Zeroizing<String>, CliError> {
        // As large as it may get: what grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(64 * 1024 + 2));
        let (source, read) = match &self.file {
            Some(path) if path != Path::new("-") => (
                path.display().to_string(),
                std::fs::File::open(path)
                    .and_then(|file| file.take(VALUE_BYTES_MAX).read_to_string(&mut text)),
            ),
            _ => (
                "stdin".to_owned(),
                std::io::stdin().take(VALUE_BYTES_MAX).read_to_string(&mut text),
            ),
        };
        read.map_err(|error| CliError::usage(format!("{source}: {error}")))?;
        let value = text.trim_end_matches(['\n', '\r']).len();
        if value == 0 {
            return Err(CliError::usage(format!("{source} holds no value")));
        }
        text.truncate(value);
        Ok(text)
    }
}
