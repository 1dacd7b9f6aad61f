#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>

#include "apps/bench/machine.h"
#include "apps/bench/peer.h"
#include "apps/bench/profile.h"
#include "apps/bench/suite_models.h"
#include "apps/bench/suite_ops.h"
#include "apps/cli.h"
#include "core/files.h"
#include "core/parallel.h"

namespace vitrine::apps {
namespace {

const std::vector<std::string> kSuites = {"ops", "train", "infer", "rpe"};

struct Options : CommonFlags {
  std::string suite = "ops", filter, peer, peer_script, markdown, model, rpe;
  int64_t batch_size = 0;
  bool profile = false, eager = false, graph = false;
  int rounds = 7, idle = 0;
  double budget = 60;
  const CLI::Option* precision_option = nullptr;

  void add_all(CLI::App& app) {
    add_to(app);
    precision_option = app.get_option("--precision");
    app.add_option(
        "suite", suite,
        "ops: every op's bench samples and a chain of scalar ops; train: training steps; infer: inferences of models; "
        "rpe: both with each method of relative positions against none (default: ops)");
    app.add_option("--filter", filter, "only rows whose op, or else 'op: sample', contains this text");
    app.add_option("--model", model, "models: this model (default: the suite's own rows)");
    app.add_option("--batch-size", batch_size, "models: images at once (default: the suite's own)")
        ->check(CLI::PositiveNumber);
    app.add_option("--rpe", rpe, "models: relative positions, as those of vitrine train");
    app.add_flag("--profile", profile, "models: time by op instead of rows");
    app.add_flag("--eager", eager, "models: the peer may not compile, which takes it minutes");
    app.add_flag("--graph", graph, "models: on cuda or emulated, each of our calls is one captured graph");
    app.add_option("--peer", peer, "python with torch, to compare with (default: $VITRINE_PEER_PYTHON)");
    app.add_option("--peer-script", peer_script, "what it runs (default: tests/bench/peer_torch.py of the sources)");
    app.add_option("--rounds", rounds, "rounds that alternate between us and the peer (default: 7)")
        ->check(CLI::Range(1, 1000));
    app.add_option("--budget", budget, "milliseconds of one measurement (default: 60)")->check(CLI::Range(0.01, 1e5));
    app.add_option("--idle", idle, "seconds to wait for an idle machine before a row (default: 0)")
        ->check(CLI::Range(0, 3600));
    app.add_option("--markdown", markdown, "also write the table to this file");
  }
  bool of_models() const { return suite != "ops"; }
};

void check_names(const Options& o) {
  check<UsageError>(std::find(kSuites.begin(), kSuites.end(), o.suite) != kSuites.end(),
                    "bench: unknown suite '{}'; did you mean {}?", o.suite, nearest(o.suite, kSuites));
  check<UsageError>(!o.graph || !o.profile, "bench: --profile looks at ops, which --graph hides");
  if (o.of_models()) return;
  check<UsageError>(
      o.model.empty() && o.rpe.empty() && o.batch_size == 0 && !o.profile && !o.eager && !o.graph,
      "bench: --model, --batch-size, --rpe, --profile, --eager and --graph belong to bench train, infer and rpe");
  const std::vector<std::string> names = bench_names();
  // A filter may be part of a label, which only the samples know; one that looks like a name must be close to one.
  const bool part_of_name = std::any_of(names.begin(), names.end(),
                                        [&](const std::string& n) { return n.find(o.filter) != std::string::npos; });
  check<UsageError>(part_of_name || o.filter.find_first_of(": ,") != std::string::npos,
                    "bench: no op matches --filter {}; did you mean {}?", o.filter, nearest(o.filter, names));
}

ModelBenchOptions model_options(const Options& o) {
  ModelBenchOptions which{.suite = o.suite == "train"   ? ModelSuite::train
                                   : o.suite == "infer" ? ModelSuite::infer
                                                        : ModelSuite::rpe,
                          .model = o.model,
                          .batch = o.batch_size,
                          .compile = !o.eager,
                          .graph = o.graph};
  if (!o.rpe.empty()) which.rpe = o.rpe;
  return which;
}

int print_profiles(const Options& o, const BenchOptions& options) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const ModelSetup& setup : model_setups(model_options(o)))
    for (const Dtype dtype : options.dtypes) {
      ModelWork work(setup, dtype, options.device, options.seed);
      const std::vector<ProfileRow> rows = profile(work, options.rounds);
      if (o.json) {
        list.push_back({{"name", setup.model},
                        {"sample", work.label()},
                        {"dtype", to_string(dtype)},
                        {"ops", profile_json(rows)}});
      } else {
        std::cout << format("{} {}, {}, {}\n\n", o.suite, setup.model, work.label(), dtype)
                  << profile_table(rows).text() << "\n";
      }
    }
  if (o.json) print_json(list);
  return kDone;
}

struct RunningPeer {
  std::unique_ptr<Peer> peer;
  std::string name, details;
};

RunningPeer start_peer(const Options& o) {
  const char* environment = std::getenv("VITRINE_PEER_PYTHON");
  const std::string python = !o.peer.empty() ? o.peer : environment ? environment : "";
  check<UsageError>(!python.empty() || o.peer_script.empty(),
                    "bench: --peer-script needs --peer, the python to run it");
  if (python.empty()) return {};
  const std::string script =
      o.peer_script.empty() ? std::string(VITRINE_SOURCE_DIR) + "/tests/bench/peer_torch.py" : o.peer_script;
  RunningPeer running;
  running.peer = std::make_unique<Peer>(python, script, num_threads());
  const nlohmann::json hello = running.peer->ask({{"cmd", "hello"}});
  running.name = hello.value("name", "peer");
  running.details = hello.value("details", "");
  return running;
}

/// The lines of --version as one.
std::string version_line() {
  std::string line;
  for (const char c : version_text()) line += c == '\n' ? std::string("; ") : std::string(1, c);
  return line.substr(0, line.size() - 2);
}

void write_markdown(const std::string& file, const std::vector<BenchRow>& rows, const RunningPeer& peer,
                    const Options& o, const std::string& command) {
  double load = 0;
  for (const BenchRow& r : rows) load = std::max(load, r.load);
  write_file_atomically(file, [&](std::ostream& out) {
    out << "Command: `" << command << "`\n\n"
        << "Machine: " << machine_text(num_threads()) << "; at most " << significant(100 * load, 2)
        << " % of it kept busy by others before a row  \n"
        << "Ours: " << version_line() << "  \n"
        << "Peer: " << (peer.peer ? peer.name + "; " + peer.details : std::string("none")) << "  \n"
        << "Rounds: " << o.rounds << " of " << significant(o.budget) << " ms a side\n\n"
        << bench_table(rows).markdown();
  });
}

int run(const Options& o, const std::string& command) {
  o.apply();
  check_names(o);
  BenchOptions options{.device = o.device(), .dtypes = {Dtype::f32, Dtype::bf16}, .filter = o.filter, .seed = o.seed};
  if (o.precision_option->count() > 0) options.dtypes = {o.dtype()};
  options.rounds = o.rounds, options.budget_ms = o.budget, options.idle_seconds = o.idle;
  if (o.profile) return print_profiles(o, options);
  const RunningPeer peer = start_peer(o);
  options.peer = peer.peer.get();
  options.peer_name = peer.name;
  options.report = [](const BenchRow& row) {
    std::cerr << format("{} ({}) {} {}: {} ms{}\n", row.name, row.sample, row.dtype, row.direction, significant(row.ms),
                        row.check.empty()   ? ""
                        : row.check == "ok" ? format(", {} times the peer's speed", significant(row.ratio))
                                            : ", " + row.check);
  };
  const std::vector<BenchRow> rows = o.of_models() ? bench_models(options, model_options(o)) : bench_ops(options);
  check<UsageError>(!rows.empty(), "bench: no row matches --filter {}", o.filter);
  if (!o.markdown.empty()) write_markdown(o.markdown, rows, peer, o, command);
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  int failed = 0;
  for (const BenchRow& row : rows) {
    list.push_back(row.json());
    failed += row.check.starts_with("FAIL");
  }
  if (o.json) {
    print_json(list);
  } else {
    std::cout << bench_table(rows).text();
  }
  if (failed == 0) return kDone;
  std::cerr << format("vitrine: bench: {} of {} rows disagree with the peer\n", failed, rows.size());
  return kFailed;
}

std::function<int()> setup(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  options->add_all(app);
  return [options, &app] {
    std::string command = "vitrine bench " + options->suite;
    for (const CLI::Option* option : app.get_options())
      if (option->count() > 0 && !option->get_lnames().empty() && option->get_lnames()[0] != "peer") {
        command += " --" + option->get_lnames()[0];
        if (option->get_items_expected_max() > 0) command += " " + option->results().back();
      }
    return run(*options, command);
  };
}

const RegisterCommand command({"bench", "Times every op, or models, alone or against a peer", setup});

}  // namespace
}  // namespace vitrine::apps
