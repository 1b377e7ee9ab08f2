//! Classifiers and actions of traffic control: whether the kernel has them, which most distributions build as modules.

use super::ask::Node;
use crate::facts::{Evidence, Fact, Support};

/// Options and modules of a classifier on a clsact qdisc.
pub(crate) const CLASSIFIER: &[(&str, &str)] =
    &[("NET_CLS_BPF", "cls_bpf"), ("NET_SCH_INGRESS", "sch_ingress")];
/// Option and module of an action.
pub(crate) const ACTION: &[(&str, &str)] = &[("NET_ACT_BPF", "act_bpf")];

/// Whether the kernel has all these parts, built in or as modules, which it loads when they are first used; nothing is
/// loaded to find out.
pub(crate) fn fact(node: &Node<'_>, parts: &[(&str, &str)]) -> Fact {
    let source =
        parts.first().map_or_else(String::new, |(option, _)| format!("kernel.config.CONFIG_{option}"));
    let fact = |support| Fact::new(support, Evidence::Derived, source.clone());
    let mut to_load = Vec::new();
    for (option, module) in parts {
        let configured = node.files.get(&format!("kernel.config.CONFIG_{option}"));
        let installed = node.files.get(&format!("kernel.module.{module}"));
        match configured.map_or(Support::Unknown, |fact| fact.support) {
            Support::No => return fact(Support::No).reason(format!("CONFIG_{option} is off")),
            Support::Yes if configured.and_then(Fact::text) != Some("m") => {}
            // As a module, or nobody knows how: the file decides.
            configured => match installed.map(|fact| (fact.support, fact.text())) {
                Some((Support::Yes, Some("installed"))) => to_load.push(*module),
                Some((Support::Yes, _)) => {}
                Some((Support::No, _)) if configured == Support::Yes => {
                    return fact(Support::No).reason(format!("the module {module} is not installed"));
                }
                _ => {
                    let reason = format!("neither CONFIG_{option} nor the list of modules tells");
                    return fact(Support::Unknown).reason(reason);
                }
            },
        }
    }
    if to_load.is_empty() {
        return fact(Support::Yes).reason("built in, or loaded");
    }
    let modules = to_load.join(" and ");
    match node.files.support("security.modules_disabled") {
        Support::Yes => fact(Support::DeniedWorkload)
            .reason(format!("{modules} not loaded, and no module can be until the next boot")),
        _ => fact(Support::Yes)
            .reason(format!("the kernel loads {modules} when first used, if the node lets it")),
    }
}
