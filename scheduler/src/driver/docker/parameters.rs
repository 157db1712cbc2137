//! Options of `docker run` that an app may name.

use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig, ResourcesUlimits};

use super::super::Refusal;

/// Puts options where the Engine takes them; what is not in here is refused by its name.
pub(super) fn apply(
    parameters: &[(String, String)],
    body: &mut ContainerCreateBody,
    host: &mut HostConfig,
) -> Result<(), Refusal> {
    for (key, value) in parameters {
        let text = value.clone();
        match key.as_str() {
            "add-host" => push(&mut host.extra_hosts, text),
            "cap-add" => push(&mut host.cap_add, text),
            "cap-drop" => push(&mut host.cap_drop, text),
            "dns" => push(&mut host.dns, text),
            "entrypoint" => body.entrypoint = Some(vec![text]),
            "hostname" => body.hostname = Some(text),
            "init" => host.init = Some(value.parse().map_err(|_| refused(key, "true or false"))?),
            "label" => {
                let (name, value) = value.split_once('=').unwrap_or((value, ""));
                let labels = body.labels.get_or_insert_default();
                labels.insert(name.to_owned(), value.to_owned());
            }
            "log-driver" => log(host).typ = Some(text),
            "log-opt" => {
                let (name, value) = pair(key, value)?;
                log(host).config.get_or_insert_default().insert(name, value);
            }
            "memory-swap" => host.memory_swap = Some(bytes(key, value)?),
            "security-opt" => push(&mut host.security_opt, text),
            "shm-size" => host.shm_size = Some(bytes(key, value)?),
            "tmpfs" => {
                let (path, options) = value.split_once(':').unwrap_or((value, ""));
                let all = host.tmpfs.get_or_insert_with(HashMap::new);
                all.insert(path.to_owned(), options.to_owned());
            }
            "ulimit" => push(&mut host.ulimits, ulimit(key, value)?),
            "user" => body.user = Some(text),
            "workdir" => body.working_dir = Some(text),
            _ => {
                return Err(Refusal::Other(format!(
                    "the parameter `{key}` of docker.parameters is not taken here"
                )));
            }
        }
    }
    Ok(())
}

fn push<T>(list: &mut Option<Vec<T>>, value: T) {
    list.get_or_insert_default().push(value);
}

fn log(host: &mut HostConfig) -> &mut HostConfigLogConfig {
    host.log_config.get_or_insert_default()
}

fn pair(key: &str, value: &str) -> Result<(String, String), Refusal> {
    let (name, value) = value.split_once('=').ok_or_else(|| refused(key, "NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

/// `NAME=SOFT` or `NAME=SOFT:HARD`.
fn ulimit(key: &str, value: &str) -> Result<ResourcesUlimits, Refusal> {
    let (name, limits) = pair(key, value)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((&limits, &limits));
    let number = |text: &str| text.parse().map_err(|_| refused(key, "NAME=SOFT:HARD"));
    Ok(ResourcesUlimits {
        name: Some(name),
        soft: Some(number(soft)?),
        hard: Some(number(hard)?),
    })
}

/// A number of bytes, with b, k, m or g behind it; -1 is no limit.
fn bytes(key: &str, value: &str) -> Result<i64, Refusal> {
    let lower = value.to_ascii_lowercase();
    let text = lower.strip_suffix('b').unwrap_or(&lower);
    let (digits, unit) = [("k", 10), ("m", 20), ("g", 30)]
        .iter()
        .find_map(|(unit, power)| Some((text.strip_suffix(unit)?, 1i64 << power)))
        .unwrap_or((text, 1));
    let number: Option<i64> = digits.parse().ok();
    number
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(|| refused(key, "a number of bytes such as 64m"))
}

fn refused(key: &str, wanted: &str) -> Refusal {
    Refusal::Other(format!("the parameter `{key}` of docker.parameters has to be {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(parameters: &[(&str, &str)]) -> Result<(ContainerCreateBody, HostConfig), Refusal> {
        let parameters: Vec<(String, String)> = parameters
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let (mut body, mut host) = (ContainerCreateBody::default(), HostConfig::default());
        apply(&parameters, &mut body, &mut host)?;
        Ok((body, host))
    }

    #[test]
    fn options_go_where_the_engine_takes_them() {
        let (body, host) = applied(&[
            ("add-host", "db:10.0.0.1"),
            ("cap-drop", "ALL"),
            ("hostname", "web"),
            ("label", "team=a=b"),
            ("log-opt", "max-size=1m"),
            ("shm-size", "64m"),
            ("memory-swap", "-1"),
            ("tmpfs", "/run:size=1m"),
            ("ulimit", "nofile=1024:2048"),
            ("ulimit", "core=0"),
        ])
        .unwrap();
        assert_eq!(body.hostname.as_deref(), Some("web"));
        assert_eq!(body.labels.unwrap().get("team").unwrap(), "a=b");
        assert_eq!((host.shm_size, host.memory_swap), (Some(64 << 20), Some(-1)));
        assert_eq!(host.extra_hosts.unwrap(), ["db:10.0.0.1"]);
        assert_eq!(host.tmpfs.unwrap().get("/run").unwrap(), "size=1m");
        let limits: Vec<_> = host
            .ulimits
            .unwrap()
            .iter()
            .map(|limit| (limit.soft, limit.hard))
            .collect();
        assert_eq!(limits, [(Some(1024), Some(2048)), (Some(0), Some(0))]);
    }

    #[test]
    fn what_is_not_taken_is_named() {
        for (key, value) in [
            ("volume", "/:/host"),
            ("pid", "host"),
            ("privileged", "true"),
            ("shm-size", "much"),
            ("ulimit", "nofile"),
            ("init", "maybe"),
            ("log-opt", "x"),
        ] {
            let refusal = applied(&[(key, value)]).unwrap_err().to_string();
            assert!(refusal.contains(&format!("`{key}`")), "{refusal}");
        }
    }
}
