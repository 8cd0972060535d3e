{{- define "dago.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The release's name where it says the chart's already. */}}
{{- define "dago.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 55 | trimSuffix "-" -}}
{{- else if contains (include "dago.name" .) .Release.Name -}}
{{- .Release.Name | trunc 55 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "dago.name" .) | trunc 55 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "dago.secretName" -}}
{{- .Values.existingSecret | default (include "dago.fullname" .) -}}
{{- end -}}

{{- define "dago.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "dago.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* Of the API, as the chart before had them; a pool's have another name. */}}
{{- define "dago.selectorLabels" -}}
app.kubernetes.io/name: {{ include "dago.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "dago.workerSelectorLabels" -}}
app.kubernetes.io/name: {{ include "dago.name" . }}-worker
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "dago.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "dago.labels" -}}
{{ include "dago.selectorLabels" . }}
{{ include "dago.commonLabels" . }}
{{- end -}}

{{- define "dago.workerLabels" -}}
{{ include "dago.workerSelectorLabels" . }}
{{ include "dago.commonLabels" . }}
{{- end -}}

{{- define "dago.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{/* Which secrets there are: those of a Secret made here are known, another one has to hold all. */}}
{{- define "dago.hasPassword" -}}
{{- if or .Values.existingSecret .Values.redis.password }}yes{{ end -}}
{{- end -}}
{{- define "dago.hasKey" -}}
{{- if or .Values.existingSecret .Values.llm.apiKey }}yes{{ end -}}
{{- end -}}

{{/* Settings that API and pools share. */}}
{{- define "dago.env" -}}
- name: REDIS_ADDR
  value: {{ .Values.redis.addr | quote }}
- name: REDIS_DB
  value: {{ .Values.redis.db | quote }}
{{- if include "dago.hasPassword" . }}
- name: REDIS_PASS_FILE
  value: /run/secrets/dago/redis-password
{{- end }}
- name: LOG_LEVEL
  value: {{ .Values.logLevel | quote }}
- name: DRAIN_TIMEOUT
  value: {{ printf "%ds" (int .Values.drainTimeout) | quote }}
{{- range $name, $value := .Values.env }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}

{{- define "dago.podSpec" -}}
automountServiceAccountToken: false
enableServiceLinks: false
serviceAccountName: {{ include "dago.serviceAccountName" . }}
terminationGracePeriodSeconds: {{ add (int .Values.drainTimeout) 15 }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Secrets are read at a start: another one has the pods replaced. */}}
{{- define "dago.checksum" -}}
{{- if not .Values.existingSecret }}
checksum/secrets: {{ printf "%s,%s,%s" .Values.redis.password .Values.llm.apiKey .Values.api.tokens | sha256sum }}
{{- end }}
{{- end -}}
