#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/cli.h"
#include "apps/probe/probe_op.h"
#include "data/checkpoint/safetensors.h"

namespace vitrine::apps {
namespace {

using Json = nlohmann::ordered_json;

Json read_json(const std::string& file) {
  std::ifstream in(file);
  check<IoError>(in.good(), "{}: cannot be opened", file);
  try {
    return Json::parse(in);
  } catch (const Json::exception& e) {
    throw IoError(format("{}: not valid JSON: {}", file, e.what()));
  }
}

/// One value of "config". Lists with a fraction in them are lists of numbers.
AttributeValue to_attribute(const std::string& where, const Json& value) {
  const auto all = [&](auto is) { return std::all_of(value.begin(), value.end(), is); };
  const auto is_integer = [](const Json& v) {
    return v.is_number_integer() && !(v.is_number_unsigned() && v.get<uint64_t>() > uint64_t(INT64_MAX));
  };
  if (value.is_boolean()) return value.get<bool>();
  if (is_integer(value)) return value.get<int64_t>();
  if (value.is_number()) return value.get<double>();
  if (value.is_string()) return value.get<std::string>();
  if (value.is_array() && all(is_integer)) return value.get<std::vector<int64_t>>();
  if (value.is_array() && all([](const Json& v) { return v.is_number(); })) return value.get<std::vector<double>>();
  throw IoError(format("{} must be true, false, a number, a text or a list of numbers, got {}", where,
                       value.dump(-1, ' ', true, Json::error_handler_t::replace)));
}

/// SPEC.json as checked values.
ProbeRequest read_request(const std::string& file) {
  const Json spec = read_json(file);
  check<IoError>(spec.is_object(), "{}: must be an object with \"target\", \"name\", \"config\", \"inputs\"", file);
  const auto text = [&](const char* key, const char* otherwise) {
    if (!spec.contains(key) && otherwise) return std::string(otherwise);
    check<IoError>(spec.contains(key) && spec[key].is_string(), "{}: \"{}\" must be given, as a text", file, key);
    return spec[key].get<std::string>();
  };
  ProbeRequest request;
  request.target = text("target", nullptr);
  request.name = text("name", nullptr);
  request.device = text("device", "");
  const Json config = spec.value("config", Json::object());
  check<IoError>(config.is_object(), "{}: \"config\" must be an object", file);
  for (const auto& [key, value] : config.items())
    request.attributes.emplace_back(key, to_attribute(format("{}: \"config\": \"{}\"", file, key), value));
  if (spec.contains("init")) {
    check<IoError>(spec["init"].is_boolean(), "{}: \"init\" must be true or false", file);
    request.init = spec["init"].get<bool>();
  }
  if (spec.contains("inputs")) {
    const Json& inputs = spec["inputs"];
    check<IoError>(
        inputs.is_array() && std::all_of(inputs.begin(), inputs.end(), [](const Json& v) { return v.is_string(); }),
        "{}: \"inputs\" must be a list of tensor names", file);
    request.inputs = inputs.get<std::vector<std::string>>();
  }
  return request;
}

void report(const std::string& file, const data::Safetensors& out, bool json) {
  Json list = Json::array();
  Table table({"tensor", "dtype", "shape"});
  for (const auto& [name, t] : out.tensors) {
    list.push_back({{"name", name},
                    {"dtype", to_string(t.dtype())},
                    {"shape", std::vector<int64_t>(t.shape().begin(), t.shape().end())}});
    table.add({name, to_string(t.dtype()), to_string(t.shape())});
  }
  if (json) {
    print_json({{"file", file}, {"tensors", list}});
  } else {
    std::cout << table.text();
  }
}

std::function<int()> setup(CLI::App& app) {
  struct Options : CommonFlags {
    std::string spec, in, out;
  };
  const auto options = std::make_shared<Options>();
  options->add_to(app);
  app.add_option("SPEC.json", options->spec, "what to run: target, name, config, device, inputs")->required();
  app.add_option("IN.safetensors", options->in, "inputs by name, cotangents as cotangent.NAME")->required();
  app.add_option("OUT.safetensors", options->out, "receives outputs by name and gradients as grad.NAME")->required();
  return [options] {
    options->apply();
    ProbeRequest request = read_request(options->spec);
    const bool op = request.target == "op";
    check<UsageError>(op || request.target == "module" || request.target == "model",
                      "{}: unknown target \"{}\"; op, module and model can be probed", options->spec, request.target);
    if (!options->device_text.empty() || request.device.empty()) request.device = to_string(options->device());
    request.file = options->in;
    const data::Safetensors in = data::read_safetensors(options->in);
    const data::Safetensors out = op ? probe_op(request, in) : probe_module(request, in);
    data::write_safetensors(options->out, out);
    report(options->out, out, options->json);
    return int(kDone);
  };
}

const RegisterCommand command(
    {"probe", "Runs an op, module or model on given tensors, forward and backward, and writes outputs and gradients",
     setup});

}  // namespace
}  // namespace vitrine::apps
