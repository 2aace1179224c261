//! The steps, one file each, named by group and step: `policy_authz` is the step `policy.authz` of events and metrics.

pub mod accounting_settle;
pub mod audit_append;
pub mod budget_rpm;
pub mod budget_spend_reserve;
pub mod identity_authenticate;
pub mod identity_key_state;
pub mod identity_tenant_bind;
pub mod ingress_schema;
pub mod policy_authz;
pub mod policy_model_allow;
pub mod policy_param_caps;
pub mod policy_tools_declared;
pub mod routing_vault_key;
