//! A flag (`--set KEY=VALUE`, `--port`) as a layer of the configuration, named in errors as it was given.

use figment::value::{Dict, Map, Value};
use figment::{Error, Metadata, Profile, Provider};

pub(super) struct Flag(pub String, pub Value);

impl Provider for Flag {
    fn metadata(&self) -> Metadata {
        Metadata::named("the flags").interpolater(|_, keys| keys.join("."))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        (self.0.as_str(), &self.1).data()
    }
}
