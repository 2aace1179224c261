//! The permissions there are. Each route names one; a test finds one that no route names.

use counterfoil_events::text::Code;

/// How deep a permission goes, seen from the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The platform's own registers and what is rolled up for it: its roles reach it as they are.
    Register,
    /// What is inside a tenant: the platform's roles reach it only by crossing, with a reason on record.
    Inside,
}

macro_rules! permissions {
    ($($name:ident, $text:literal, $depth:ident, $meaning:literal;)*) => {
        /// Something that can be done.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Permission {
            $(#[doc = $meaning] $name,)*
        }

        impl Permission {
            /// All of them, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// As it is written.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// As it stands in events.
            #[must_use]
            pub fn code(self) -> Code {
                match self { $(Self::$name => const { Code::literal($text) },)* }
            }

            /// What it allows, for people.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }

            /// How deep it goes.
            #[must_use]
            pub fn depth(self) -> Depth {
                match self { $(Self::$name => Depth::$depth,)* }
            }
        }
    };
}

permissions! {
    OrganisationsCreate, "organisations.create", Register, "Create organisations";
    OrganisationsList, "organisations.list", Register, "See all organisations";
    OrganisationsRead, "organisations.read", Register, "See an organisation";
    OrganisationsWrite, "organisations.write", Register, "Rename an organisation";
    OrganisationsSuspend, "organisations.suspend", Register, "Stop everything in an organisation's tenants, and let it go on";
    TenantsCreate, "tenants.create", Register, "Create tenants";
    TenantsList, "tenants.list", Register, "See all tenants";
    TenantsRead, "tenants.read", Register, "See a tenant's entry: name, owner, carriers, exposure";
    TenantsWrite, "tenants.write", Register, "Rename a tenant; at an organisation, create one of it";
    TenantsSuspend, "tenants.suspend", Register, "Stop everything in a tenant, and let it go on";
    TenantsClose, "tenants.close", Register, "End a tenant for good, and erase it when its time is over";
    CarriersWrite, "carriers.write", Register, "Let carriers carry a tenant's risk";
    ExposureWrite, "exposure.write", Register, "Say how much is at risk in a tenant";
    RollupsRead, "rollups.read", Register, "See a carrier's rollups; nothing beneath them";
    OriginSuspend, "origin.suspend", Register, "Answer requests without proof of origin for a while, and end that";
    UsersWrite, "users.write", Register, "Enrol users, stop them, say where they sign in, and issue tokens of services";
    IssuersRead, "issuers.read", Register, "See where users of a place sign in";
    IssuersWrite, "issuers.write", Register, "Say where users of a place sign in";
    MembersRead, "members.read", Register, "See who has which roles at a place";
    MembersWrite, "members.write", Register, "Grant and revoke roles at a place";
    AgentsRead, "agents.read", Inside, "See agents";
    AgentsWrite, "agents.write", Inside, "Register agents and change their spec cards";
    AgentsSuspend, "agents.suspend", Inside, "Stop an agent, and let it go on";
    AgentKeysIssue, "agent_keys.issue", Inside, "Issue agents' API keys";
    AgentKeysRevoke, "agent_keys.revoke", Inside, "Revoke agents' API keys";
    PoliciesRead, "policies.read", Inside, "See policies and their versions";
    PoliciesPublish, "policies.publish", Inside, "Publish versions of a policy";
    PoliciesActivate, "policies.activate", Inside, "Let a version of a policy decide";
    CompletionsRead, "completions.read", Inside, "See completions and usage; their content is nowhere kept";
    KrisRead, "kris.read", Inside, "See KRIs, their sources, runs and measurements";
    KrisWrite, "kris.write", Inside, "Define, change and retire KRIs and their sources";
    KriSourcesTest, "kri_sources.test", Inside, "Fetch once from a source without recording";
    KriRunsRequest, "kri_runs.request", Inside, "Ask for a measurement";
    SecretsRead, "secrets.read", Inside, "See which secrets there are; what they say is nowhere shown";
    SecretsWrite, "secrets.write", Inside, "Store, rotate and retire secrets; none can be read back";
    SubscribersWrite, "subscribers.write", Inside, "Issue and revoke credentials to follow the log over NATS";
    EventsRead, "events.read", Inside, "Read and follow the log, and its head notes";
}
