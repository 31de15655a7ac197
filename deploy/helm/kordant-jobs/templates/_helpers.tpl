{{- define "kordant.name" -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{- end }}

{{- define "kordant.labels" -}}
app.kubernetes.io/name: kordant-jobs
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "kordant.image" -}}{{ .Values.image.repository }}:{{ .Values.image.tag }}{{- end }}

{{- define "kordant.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "kordant.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "kordant.environment" -}}
envFrom:
  - configMapRef: {name: {{ include "kordant.name" . }}-settings}
  - secretRef: {name: {{ .Values.secretSettings }}, optional: true}
env:
  - name: KORDANT_DATABASE_URL
    valueFrom: {secretKeyRef: {name: {{ .Values.database.secret }}, key: url}}
  - name: KORDANT_DATABASE_DIRECT_URL
    valueFrom: {secretKeyRef: {name: {{ .Values.database.secret }}, key: directUrl}}
  - name: KORDANT_HOST_NAME
    valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- end }}

{{- define "kordant.mounts" -}}
- {name: state, mountPath: /var/lib/kordant}
- {name: tmp, mountPath: /tmp}
- {name: keys, mountPath: /etc/kordant, readOnly: true}
{{- if .Values.sharedVolumeClaim }}
- {name: shared, mountPath: /srv/shared}
{{- end }}
{{- end }}

{{- define "kordant.volumes" -}}
- name: state
  emptyDir: {}
- name: tmp
  emptyDir: {}
- name: keys
  secret:
    secretName: {{ .Values.keys.secret }}
    defaultMode: 0400
    items: [{key: master-key, path: master-key}]
{{- if .Values.sharedVolumeClaim }}
- name: shared
  persistentVolumeClaim: {claimName: {{ .Values.sharedVolumeClaim }}}
{{- end }}
{{- end }}
