#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/cli.h"
#include "apps/summary/paper.h"
#include "models/classifier.h"

namespace vitrine::apps {
namespace {

struct Flags : CommonFlags {
  std::string model, rpe, ape;
  int64_t image_size = 0, num_classes = 0;
  bool paper = false;
};

/// "1261.2 M"
std::string millions(int64_t n) { return significant(double(n) / 1e6, 5) + " M"; }

void print_table(const std::string& name, const std::vector<models::LayerCost>& layers,
                 const models::LayerCost& total) {
  Table table({"layer", "kind", "parameters", "multiply-adds", "in products"});
  for (const models::LayerCost& l : layers)
    table.add({l.name, l.kind, std::to_string(l.parameters), std::to_string(l.macs), std::to_string(l.macs_matmul)});
  std::cout << table.text()
            << format("\n{}: {} parameters, {} multiply-adds as the iRPE paper counts them, {} in matrix products\n",
                      name, total.parameters, millions(total.macs), millions(total.macs_matmul));
}

int summary(const Flags& flags) {
  flags.apply();
  const bool any = flags.image_size || flags.num_classes || !flags.rpe.empty() || !flags.ape.empty();
  check<UsageError>(!flags.paper || (flags.model.empty() && !any), "summary: --paper takes no model and no other flag");
  check<UsageError>(flags.paper || !flags.model.empty(), "summary: which MODEL? See vitrine models; or --paper");
  if (flags.paper) return print_paper_tables(flags.json), kDone;
  models::ClassifierOptions options;
  if (flags.num_classes) options.num_classes = flags.num_classes;
  if (flags.image_size) options.image_size = flags.image_size;
  if (!flags.rpe.empty()) options.rpe = flags.rpe;
  if (!flags.ape.empty()) options.ape = models::parse_ape(flags.ape);
  const auto model = models::make_classifier({.blank = true}, flags.model, options);
  const std::vector<models::LayerCost> layers = model->costs();
  models::LayerCost total{.name = flags.model, .kind = "model"};
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const models::LayerCost& l : layers) {
    total.parameters += l.parameters, total.macs += l.macs, total.macs_matmul += l.macs_matmul;
    list.push_back({{"name", l.name},
                    {"kind", l.kind},
                    {"parameters", l.parameters},
                    {"macs", l.macs},
                    {"macs_matmul", l.macs_matmul}});
  }
  check(total.parameters == model->parameter_count(), "summary: {} parameters in layers, {} in the model",
        total.parameters, model->parameter_count());
  if (!flags.json) return print_table(flags.model, layers, total), kDone;
  print_json({{"name", flags.model},
              {"parameters", total.parameters},
              {"macs", total.macs},
              {"macs_matmul", total.macs_matmul},
              {"layers", list}});
  return kDone;
}

std::function<int()> setup_summary(CLI::App& app) {
  const auto flags = std::make_shared<Flags>();
  flags->add_to(app);
  app.add_option("MODEL", flags->model, "a name of vitrine models");
  app.add_option(
      "--rpe", flags->rpe,
      "relative positions: as rpe-1.9-product-ctx-1-k, shaw or none; in DeiT also transformer-xl, huang, sasa, "
      "axial");
  app.add_option("--ape", flags->ape, "absolute positions: learned, sincos, none or peg (CPVT's generators)");
  app.add_option("--image-size", flags->image_size, "side of the input in pixels")->check(CLI::Range(1, 4096));
  app.add_option("--num-classes", flags->num_classes, "outputs of the head")->check(CLI::Range(1, 1 << 20));
  app.add_flag("--paper", flags->paper, "Tab. 2, Tab. 5 and Fig. 4 of the iRPE paper, beside its figures");
  return [flags] { return summary(*flags); };
}

std::function<int()> setup_models(CLI::App& app) {
  const auto flags = std::make_shared<CommonFlags>();
  flags->add_to(app);
  return [flags] {
    flags->apply();
    if (flags->json) {
      print_json(models::classifier_names());
    } else {
      for (const std::string& name : models::classifier_names()) std::cout << name << "\n";
    }
    return int(kDone);
  };
}

const RegisterCommand summary_command({"summary", "Layers, parameters and multiply-adds of a model", setup_summary});
const RegisterCommand models_command({"models", "Every registered model", setup_models});

}  // namespace
}  // namespace vitrine::apps
