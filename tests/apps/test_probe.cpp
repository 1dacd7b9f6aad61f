#include <cmath>

#include "core/random.h"
#include "data/checkpoint/safetensors.h"
#include "tests/apps/run_program.h"
#include "tests/support/catch.h"

using namespace vitrine;
using data::Safetensors;
using testing::Finished;
using testing::run_program;
using testing::ScratchFolder;
using vitrine::testing::Contains;

namespace {

using Tensors = std::vector<std::pair<std::string, Tensor>>;

constexpr const char* kSoftmax =
    R"({"target":"op","name":"softmax","config":{"dim":-1},"device":"cpu","inputs":["x"]})";

/// Runs `probe` on files in a folder of its own.
struct Probe {
  ScratchFolder folder{"probe"};
  Finished run(const std::string& spec, const Tensors& in) const {
    data::write_safetensors(folder.file("in"), {.tensors = in, .metadata = {}});
    return run_raw(spec);
  }
  Finished run_raw(const std::string& spec) const {
    folder.write("spec", spec);
    return run_program({"probe", folder.file("spec"), folder.file("in"), folder.file("out"), "--json"});
  }
  Safetensors out() const { return data::read_safetensors(folder.file("out")); }
  /// The status of a run that must fail with one message and write nothing.
  int fails(const Finished& run, const std::string& message) const {
    INFO(run.err);
    CHECK(run.is_one_error());
    CHECK_THAT(run.err, Contains(message));
    CHECK(folder.list() == std::vector<std::string>{"in", "spec"});
    return run.status;
  }
};

Tensor normal(const Shape& shape, uint64_t seed, Dtype dtype = Dtype::f64) {
  Generator g{seed, 0};
  return random_normal(shape, g, 0, 1, {.dtype = dtype});
}

}  // namespace

TEST_CASE("probe: outputs and gradients are those of the definition", "[apps]") {
  const Probe probe;
  const Tensor x = normal({3, 5}, 1), c = normal({3, 5}, 2);
  const Finished run = probe.run(kSoftmax, {{"x", x}, {"cotangent.out", c}});
  INFO(run.err);
  REQUIRE(run.status == 0);
  CHECK(run.json()["tensors"].size() == 2);
  const Safetensors out = probe.out();
  REQUIRE(out.tensors.size() == 2);
  const std::vector<double> xs = x.to_vector(), cs = c.to_vector(), y = out.at("out").to_vector(),
                            dx = out.at("grad.x").to_vector();
  CHECK(out.at("out").dtype() == Dtype::f64);
  CHECK(out.at("grad.x").shape() == Shape{3, 5});
  for (int row = 0; row < 3; ++row) {
    double sum = 0, dot = 0;
    for (int i = row * 5; i < row * 5 + 5; ++i) sum += std::exp(xs[i]);
    for (int i = row * 5; i < row * 5 + 5; ++i) dot += std::exp(xs[i]) / sum * cs[i];
    for (int i = row * 5; i < row * 5 + 5; ++i) {
      const double p = std::exp(xs[i]) / sum;
      CHECK(std::abs(y[i] - p) < 1e-14);
      CHECK(std::abs(dx[i] - p * (cs[i] - dot)) < 1e-14);
    }
  }
}

TEST_CASE("probe: dtypes stay, and without a cotangent only the forward runs", "[apps]") {
  const Probe probe;
  for (const Dtype dtype : {Dtype::f32, Dtype::bf16}) {
    const Tensor x = normal({2, 7}, 3, dtype);
    REQUIRE(probe.run(kSoftmax, {{"x", x}}).status == 0);
    CHECK(probe.out().tensors.size() == 1);
    CHECK(probe.out().at("out").dtype() == dtype);
    REQUIRE(probe.run(kSoftmax, {{"x", x}, {"cotangent.out", x}}).status == 0);
    CHECK(probe.out().at("grad.x").dtype() == dtype);
  }
}

TEST_CASE("probe: tensors that do not fit end in one error and no file", "[apps]") {
  const Probe probe;
  const Tensor x = normal({2, 3}, 4);
  CHECK(probe.fails(probe.run(kSoftmax, {{"y", x}}), "there is no tensor 'x'") == 3);
  CHECK(probe.fails(probe.run(kSoftmax, {{"x", x}, {"cotangent.out", normal({3, 2}, 5)}}),
                    "'cotangent.out' is [3, 2] f64 cpu, but the output is [2, 3] f64 cpu") == 3);
  CHECK(probe.fails(probe.run(kSoftmax, {{"x", x}, {"cotangent.out", x.to(Dtype::f32)}}), "'cotangent.out' is") == 3);
  CHECK(probe.fails(probe.run(kSoftmax, {{"x", x}, {"cotangent.y", x}}),
                    "'cotangent.y' belongs to no output of softmax; did you mean cotangent.out") == 3);
  CHECK(probe.fails(probe.run(kSoftmax, {{"x", arange(6).view({2, 3})}}), "i64") == 2);
}

TEST_CASE("probe: a wrong request ends in one error and no file", "[apps]") {
  const Probe probe;
  const Tensors in = {{"x", normal({2, 3}, 6)}};
  const auto spec = [](const std::string& target, const std::string& name, const std::string& rest) {
    return R"({"target":")" + target + R"(","name":")" + name + "\"" + rest + "}";
  };
  CHECK(probe.fails(probe.run(spec("op", "softmxa", ""), in), "unknown op 'softmxa'; did you mean softmax") == 2);
  CHECK(probe.fails(probe.run(spec("module", "deit_atention", ""), in), "unknown module 'deit_atention'") == 2);
  CHECK(probe.fails(probe.run(spec("model", "deit_attention", ""), in), "no tensor 'image'") == 3);
  CHECK(probe.fails(probe.run(spec("layer", "softmax", ""), in), "unknown target \"layer\"") == 2);
  CHECK(probe.fails(probe.run(spec("op", "softmax", R"(,"config":{"dim":2})"), in), "dim 2 is out of range") == 2);
  CHECK(probe.fails(probe.run(spec("op", "softmax", R"(,"config":{"dim":"last"})"), in), "'dim'") == 2);
  CHECK(probe.fails(probe.run(spec("op", "softmax", R"(,"config":{"dim":{}})"), in), "\"config\": \"dim\"") == 3);
  CHECK(probe.fails(probe.run(spec("op", "softmax", R"(,"config":7)"), in), "\"config\" must be an object") == 3);
  CHECK(probe.fails(probe.run(spec("op", "softmax", R"(,"inputs":["z"])"), in), "has no argument 'z'") == 2);
  CHECK(probe.fails(probe.run(spec("op", "softmax", R"(,"inputs":[])"), in), "needs its argument 'x'") == 2);
  CHECK(probe.fails(probe.run(spec("op", "linear", R"(,"inputs":["x"])"), in), "weight") == 2);
  CHECK(probe.fails(probe.run(spec("op", "adamw_", ""), {{"grad0", in[0].second}}), "no tensor 'param0'") == 3);
  CHECK(probe.fails(probe.run(spec("op", "softmax", R"(,"inputs":"x")"), in), "\"inputs\" must be a list") == 3);
  CHECK(probe.fails(probe.run(spec("op", "softmax", R"(,"config":{"dim":0},"device":"tpu")"), in),
                    "unknown device 'tpu'") == 2);
  CHECK(probe.fails(probe.run(R"({"name":"softmax"})", in), "\"target\" must be given") == 3);
  CHECK(probe.fails(probe.run("[]", in), "must be an object") == 3);
  CHECK(probe.fails(probe.run("{\"target\": ", in), "not valid JSON") == 3);
}

TEST_CASE("probe: files that cannot be read end with status 3, those that cannot be written with 1", "[apps]") {
  const Probe probe;
  probe.folder.write("in", std::string(8, '\xff') + "{}");
  CHECK(probe.fails(probe.run_raw(kSoftmax), "not a safetensors file") == 3);
  probe.folder.write("in", "");
  CHECK(probe.fails(probe.run_raw(kSoftmax), "too few") == 3);
  const std::string in = probe.folder.file("in"), spec = probe.folder.file("spec");
  CHECK(probe.fails(run_program({"probe", spec, probe.folder.file("none"), probe.folder.file("out")}),
                    "none: no such file") == 3);
  CHECK(probe.fails(run_program({"probe", probe.folder.file("none"), in, probe.folder.file("out")}),
                    "none: cannot be opened") == 3);
  data::write_safetensors(in, {.tensors = {{"x", ones({2, 3})}}, .metadata = {}});
  CHECK(probe.fails(run_program({"probe", spec, in, probe.folder.file("no/such/out")}), "no/such/out") == 1);
}

TEST_CASE("probe: modules and models take their parameters by name", "[apps]") {
  const Probe probe;
  const std::string fixture = std::string(VITRINE_SOURCE_DIR) + "/tests/fixtures/deit/rpe_product_k.safetensors";
  const data::Safetensors recorded = data::read_safetensors(fixture);
  const std::string spec = R"({"target":"module","name":"deit_attention","inputs":["x"],
      "config":{"dim":8,"heads":2,"grid":[3,4],"skip":1,"rpe":"rpe-1.9-product-ctx-1-k"}})";
  Tensors in;
  for (const auto& [name, t] : recorded.tensors)
    if (name != "out" && !name.starts_with("grad.")) in.emplace_back(name, t);
  Tensors less = in;
  std::erase_if(less, [](const auto& pair) { return pair.first == "proj.bias"; });
  CHECK(probe.fails(probe.run(spec, less), "no tensor 'proj.bias', a parameter of deit_attention") == 3);

  std::string drawn = spec;
  drawn.insert(1, "\"init\":true,");
  Tensors misspelt = less;
  misspelt.emplace_back("proj.bais", normal({8}, 7));
  CHECK(probe.fails(probe.run(drawn, misspelt),
                    "'proj.bais' is no parameter of deit_attention; did you mean proj.bias") == 3);
  CHECK(probe.run(drawn, less).status == 0);
  std::filesystem::remove(probe.folder.file("out"));

  std::string other = spec;
  other.replace(other.find("[\"x\"]"), 5, "[\"y\"]");
  CHECK(probe.fails(probe.run(other, in), "deit_attention has no input 'y'; it takes x") == 2);

  other = spec;
  other.replace(other.find("rpe-1.9"), 7, "irpe-1.9");
  CHECK(probe.fails(probe.run(other, in), "must be none, shaw, transformer-xl, huang, sasa, axial, or as rpe-") == 2);

  const Tensor image = normal({2, 3, 28, 28}, 8, Dtype::f32), cotangent = normal({2, 4}, 9, Dtype::f32);
  CHECK(probe.fails(
            probe.run(R"({"target":"model","name":"deit_micro_patch4_28","config":{"classes":4}})", {{"image", image}}),
            "no setting 'classes'; did you mean num_classes") == 2);

  REQUIRE(probe.run(spec, in).status == 0);
  const data::Safetensors out = probe.out();
  for (const char* name : {"out", "grad.x", "grad.qkv.weight", "grad.rpe_k.lookup_table_weight"}) {
    INFO(name);
    CHECK(out.at(name).dtype() == Dtype::f64);
    const std::vector<double> ours = out.at(name).to_vector(), theirs = recorded.at(name).to_vector();
    REQUIRE(ours.size() == theirs.size());
    for (size_t i = 0; i < ours.size(); ++i) CHECK(std::abs(ours[i] - theirs[i]) < 1e-11);
  }

  for (const std::string rpe : {"huang", "sasa", "axial", "transformer-xl", "shaw"}) {
    const std::string rival = R"({"target":"module","name":"deit_attention","init":true,
        "config":{"dim":8,"heads":2,"grid":[3,4],"skip":1,"rpe":")" +
                              rpe + "\"}}";
    REQUIRE(probe.run(rival, {{"x", recorded.at("x")}, {"cotangent.out", recorded.at("cotangent.out")}}).status == 0);
    const auto all = probe.out().tensors;
    CHECK(std::any_of(all.begin(), all.end(), [](const auto& t) { return t.first.starts_with("grad.rpe"); }));
  }

  const std::string model =
      R"({"target":"model","name":"deit_micro_patch4_28","init":true,"config":{"num_classes":4}})";
  REQUIRE(probe.run(model, {{"image", image}, {"cotangent.out", cotangent}}).status == 0);
  CHECK(probe.out().at("out").shape() == Shape{2, 4});
  CHECK(probe.out().at("grad.image").shape() == image.shape());
  CHECK(probe.out().at("grad.blocks.3.mlp.fc2.weight").shape() == Shape{64, 256});
}

TEST_CASE("probe: an encoder layer of DETR takes positions and padding", "[apps]") {
  const Probe probe;
  const data::Safetensors recorded =
      data::read_safetensors(std::string(VITRINE_SOURCE_DIR) + "/tests/fixtures/detr/encoder_product_qkv.safetensors");
  const auto spec = [](const std::string& rest, const std::string& rpe = "rpe-1.9-product-ctx-0-qkv") {
    return R"({"target":"module","name":"detr_encoder_layer","config":{"dim":8,"heads":2,"ffn":12,"grid":[3,4],"rpe":")" +
           rpe + "\"}" + rest + "}";
  };
  Tensors in;
  for (const auto& [name, t] : recorded.tensors)
    if (name != "out" && !name.starts_with("grad.")) in.emplace_back(name, t);
  const Finished run = probe.run(spec(""), in);
  INFO(run.err);
  REQUIRE(run.status == 0);
  const data::Safetensors out = probe.out();
  size_t compared = 0;
  for (const auto& [name, t] : recorded.tensors) {
    if (name != "out" && !name.starts_with("grad.")) continue;
    INFO(name);
    ++compared;
    const std::vector<double> ours = out.at(name).to_vector(), theirs = t.to_vector();
    REQUIRE(ours.size() == theirs.size());
    for (size_t i = 0; i < ours.size(); ++i) CHECK(std::abs(ours[i] - theirs[i]) < 1e-11);
  }
  CHECK(compared == out.tensors.size());

  REQUIRE(probe.run(spec(R"(,"inputs":["x","pos"])"), in).status == 0);  // without the padding
  CHECK(probe.out().at("out").to_vector() != out.at("out").to_vector());
  std::filesystem::remove(probe.folder.file("out"));
  CHECK(probe.fails(probe.run(spec("", "huang"), in), "detr_encoder_layer does not take rpe 'huang'; give ") == 2);
  CHECK(probe.fails(probe.run(spec(R"(,"inputs":["mask"])"), in), "it takes x, pos, key_padding_mask") == 2);
  Tensors less = in;
  std::erase_if(less, [](const auto& pair) { return pair.first == "pos"; });
  CHECK(probe.fails(probe.run(spec(""), less), "no tensor 'pos', an input of detr_encoder_layer") == 3);
  std::erase_if(in, [](const auto& pair) { return pair.first == "key_padding_mask"; });
  CHECK(probe.fails(probe.run(spec(R"(,"inputs":["x","pos","key_padding_mask"])"), in), "no tensor 'key_padding") == 3);
}

TEST_CASE("probe: gradients of parameters have the dtype of the input", "[apps]") {
  const Probe probe;
  const std::string spec = R"({"target":"module","name":"deit_attention","init":true,
      "config":{"dim":8,"heads":2,"grid":[1,2]}})";
  for (const Dtype dtype : {Dtype::f64, Dtype::f32, Dtype::bf16}) {
    const Tensor x = normal({1, 2, 8}, 3, dtype);
    REQUIRE(probe.run(spec, {{"x", x}, {"cotangent.out", x}}).status == 0);
    for (const auto& [name, t] : probe.out().tensors) {
      INFO(name);
      CHECK(t.dtype() == dtype);
    }
  }
}

TEST_CASE("probe: rpe_attention by the names of a checkpoint", "[apps]") {
  const Probe probe;
  const Shape tokens{2, 2, 7, 4};
  const Tensor q = normal(tokens, 1), k = normal(tokens, 2), v = normal(tokens, 3), c = normal(tokens, 4);
  const Tensor wk = normal({1, 4, 50}, 5), wv = normal({1, 50, 4}, 6);
  const auto spec = [](const std::string& config, const std::string& inputs) {
    return R"({"target":"op","name":"rpe_attention","device":"cpu","config":{)" + config + R"(},"inputs":[)" + inputs +
           "]}";
  };
  const std::string grid = R"("grid":[2,3],"skip":1,)";
  const Tensors in{{"q", q},
                   {"k", k},
                   {"v", v},
                   {"rpe_k.lookup_table_weight", wk},
                   {"rpe_v.lookup_table_weight", wv},
                   {"cotangent.out", c}};
  const Finished run = probe.run(spec(grid + R"("rpe":"rpe-1.9-product-ctx-1-kv","scale":0.5)",
                                      R"("q","k","v","rpe_k.lookup_table_weight","rpe_v.lookup_table_weight")"),
                                 in);
  INFO(run.err);
  REQUIRE(run.status == 0);
  CHECK(run.err.empty());
  CHECK(probe.out().tensors.size() == 6);
  CHECK(probe.out().at("grad.rpe_k.lookup_table_weight").shape() == wk.shape());
  CHECK(probe.out().at("grad.rpe_v.lookup_table_weight").shape() == wv.shape());
  const Tensors plain{{"q", q}, {"k", k}, {"v", v}, {"cotangent.out", c}};
  CHECK(probe.run(spec(grid + R"("rpe":"none")", R"("q","k","v")"), plain).status == 0);
  const Tensor w = normal({2, 4, 8}, 7);
  const Tensors cross{{"q", q},
                      {"k", k},
                      {"v", v},
                      {"rpe_q.rp_rows.lookup_table_weight", w},
                      {"rpe_q.rp_cols.lookup_table_weight", w},
                      {"cotangent.out", c}};
  CHECK(probe
            .run(spec(grid + R"("rpe":"rpe-1.9-cross-ctx-0-q")",
                      R"("q","k","v","rpe_q.rp_rows.lookup_table_weight","rpe_q.rp_cols.lookup_table_weight")"),
                 cross)
            .status == 0);
  CHECK(probe.out().at("grad.rpe_q.rp_cols.lookup_table_weight").shape() == w.shape());
}

TEST_CASE("probe: a missing table of rpe_attention is one error", "[apps]") {
  const Probe probe;
  const Tensor x = normal({1, 2, 7, 4}, 1);
  const std::string spec = R"({"target":"op","name":"rpe_attention","device":"cpu","inputs":["q","k","v"],"config":)"
                           R"({"grid":[2,3],"skip":1,"rpe":"rpe-1.9-product-bias-1-k"}})";
  CHECK(probe.fails(probe.run(spec, {{"q", x}, {"k", x}, {"v", x}}),
                    "rpe_attention: rpe-1.9-product-bias-1-k needs the table rpe_k.lookup_table_bias") == 2);
}
