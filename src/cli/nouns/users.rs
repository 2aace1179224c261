//! `counterfoil users …`

use clap::Subcommand;
use reqwest::Method;
use serde_json::json;

use super::super::exit::CliError;
use super::Ask;
use super::call::{Call, ReasonArg, segment, text_of};

/// Commands on users.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  counterfoil users create --kind person\n  \
    counterfoil members grant USER tenant_admin --tenant TENANT")]
pub enum UsersCommand {
    /// A new one, who may do nothing yet; it is an id, and says nothing of who it is
    Create {
        /// person or service
        #[arg(long)]
        kind: String,
    },
    /// Deny it everything
    Suspend {
        /// Its id
        user: String,
        #[command(flatten)]
        reason: ReasonArg,
    },
    /// Let it go on
    Resume {
        /// Its id
        user: String,
    },
    /// Issue a token of one hour, shown this once; not of a person who signs in at an issuer
    Token {
        /// Its id
        user: String,
    },
    /// Let a token stop working at once
    RevokeToken {
        /// Whose
        user: String,
        /// The token's id
        token_id: String,
        #[command(flatten)]
        reason: ReasonArg,
    },
    /// End all of its sessions at a browser
    EndSessions {
        /// Its id
        user: String,
        #[command(flatten)]
        reason: ReasonArg,
    },
    /// Let a person sign in as a subject of an issuer
    #[command(
        after_help = "The subject is read from a file or stdin, so that it stands in no history of commands:\n  \
            printf %s 248289761001 | counterfoil users link USER --issuer ISSUER --subject-file -"
    )]
    Link {
        /// Its id
        user: String,
        /// The issuer's id
        #[arg(long, value_name = "ISSUER")]
        issuer: String,
        /// A file that holds the subject (`sub`); `-` is stdin
        #[arg(long, value_name = "FILE")]
        subject_file: std::path::PathBuf,
    },
    /// Let it sign in so no more, and forget the subject
    Unlink {
        /// Its id
        user: String,
        /// The link's id
        link: String,
        #[command(flatten)]
        reason: ReasonArg,
    },
}

impl Ask for UsersCommand {
    fn call(self) -> Result<Call, CliError> {
        let one = |id: &str| format!("/v1/users/{}", segment(id));
        let post = |path: String, body| Call::command(Method::POST, path, body);
        Ok(match self {
            Self::Create { kind } => post("/v1/users".to_owned(), json!({ "kind": kind })),
            Self::Suspend { user, reason } => post(one(&user) + "/suspend", reason.body()),
            Self::Resume { user } => Call::bare(Method::POST, one(&user) + "/resume"),
            Self::Token { user } => Call::bare(Method::POST, one(&user) + "/tokens"),
            Self::RevokeToken {
                user,
                token_id,
                reason,
            } => {
                let token = segment(&token_id);
                post(format!("{}/tokens/{token}/revoke", one(&user)), reason.body())
            }
            Self::EndSessions { user, reason } => post(one(&user) + "/sessions/end", reason.body()),
            Self::Link {
                user,
                issuer,
                subject_file,
            } => {
                let text = text_of(&subject_file)?;
                let subject = text.trim_end_matches(['\r', '\n']);
                let body = json!({ "issuer": issuer, "subject": subject });
                post(one(&user) + "/subjects", body)
            }
            Self::Unlink { user, link, reason } => {
                let link = segment(&link);
                post(format!("{}/subjects/{link}/unlink", one(&user)), reason.body())
            }
        })
    }
}
