# shellcheck shell=bash
# Sourced by every template of this folder: finds the clone and its environment, and runs the job.
#
#   HALA_HOME    the clone (default: where sbatch was called)
#   HALA_SITE    shell lines of your site, sourced first (default: $HALA_HOME/site.sh if it exists)
#   HALA_PYTHON  an interpreter of the main environment (default: that of .venv-cuda, else of .venv)
umask 077

HALA_HOME=$(cd "${HALA_HOME:-${SLURM_SUBMIT_DIR:-.}}" && pwd)
export HALA_HOME
site=${HALA_SITE:-$HALA_HOME/site.sh}
if [[ -n ${HALA_SITE:-} && ! -r $site ]]; then
    echo "HALA_SITE=$site: cannot be read; set it to a file of shell lines, or unset it" >&2
    exit 66
fi
if [[ -r $site ]]; then
    # shellcheck source=/dev/null
    source "$site"
fi
if [[ -z ${HALA_PYTHON:-} ]]; then
    for HALA_PYTHON in "$HALA_HOME"/.venv-cuda/bin/python "$HALA_HOME"/.venv/bin/python; do
        [[ -x $HALA_PYTHON ]] && break
    done
fi
if ! command -v "$HALA_PYTHON" >/dev/null; then
    echo "$HALA_PYTHON: does not exist; run \`make env\` in $HALA_HOME, or set HALA_PYTHON" >&2
    exit 78
fi

# run COMMAND ARGUMENT...: COMMAND is worker, gate or nodes of `python -m hala_hpc.template`. The srun
# command of a worker is in job.sbatch, which the jobs of a launch use as well.
run() {
    exec "$HALA_PYTHON" -u -m hala_hpc.template "$@"
}
