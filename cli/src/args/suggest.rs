//! The name that was probably meant.

/// The candidate closest to `typed`, if one is close enough to be a slip of the fingers.
pub fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&typed, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `; did you mean …?`, or nothing where nothing is near.
pub fn did_you_mean<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(typed, candidates).map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let groups = ["bpf.helper", "bpf.map_type", "security"];
        assert_eq!(nearest("bpf.helpers", groups), Some("bpf.helper"));
        assert_eq!(nearest("Secruity", groups), Some("security"));
        assert_eq!(nearest("weather", groups), None);
        assert_eq!(nearest("", groups), None);
    }
}
