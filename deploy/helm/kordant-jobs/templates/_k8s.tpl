{{- define "kordant.k8sLauncher" -}}
load_incluster_config: true
job_namespace: {{ .Release.Namespace }}
service_account_name: {{ include "kordant.name" . }}
instance_config_map: {{ include "kordant.name" . }}-instance
dagster_home: /var/lib/kordant/state/dagster
job_image: {{ include "kordant.image" . }}
image_pull_policy: {{ .Values.image.pullPolicy }}
fail_pod_on_run_failure: false
env_config_maps: [{{ include "kordant.name" . }}-settings]
env_secrets: [{{ .Values.secretSettings }}]
run_k8s_config:
  job_spec_config: {ttl_seconds_after_finished: 600, backoff_limit: 0}
  pod_spec_config:
    termination_grace_period_seconds: 20
    automount_service_account_token: false
    security_context: {run_as_non_root: true, run_as_user: 10001, run_as_group: 10001, fs_group: 10001}
    volumes:
      - {name: state, empty_dir: {}}
      - {name: tmp, empty_dir: {}}
      - name: keys
        secret:
          secret_name: {{ .Values.keys.secret }}
          default_mode: 256
          items: [{key: master-key, path: master-key}]
  container_config:
    env:
      - name: KORDANT_DATABASE_URL
        value_from: {secret_key_ref: {name: {{ .Values.database.secret }}, key: url}}
      - name: KORDANT_DATABASE_DIRECT_URL
        value_from: {secret_key_ref: {name: {{ .Values.database.secret }}, key: directUrl}}
    security_context: {allow_privilege_escalation: false, read_only_root_filesystem: true, capabilities: {drop: [ALL]}}
    volume_mounts:
      - {name: state, mount_path: /var/lib/kordant}
      - {name: tmp, mount_path: /tmp}
      - {name: keys, mount_path: /etc/kordant, read_only: true}
{{- end }}
