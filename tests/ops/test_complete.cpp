#include <algorithm>
#include <climits>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>

#include "core/kernel_slot.h"
#include "tests/support/catch.h"
#include "tests/support/op_spec.h"

/// Every folder under ops/ has what an op must have: samples, error samples, a definition, comments on its public
/// functions, and a kernel for each device.
namespace vitrine::testing {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> op_folders() {
  std::vector<std::string> result;
  const fs::path root = fs::path(VITRINE_SOURCE_DIR) / "ops";
  if (!fs::exists(root)) return result;
  for (const auto& entry : fs::directory_iterator(root))
    if (entry.is_directory()) result.push_back(entry.path().filename().string());
  std::sort(result.begin(), result.end());
  return result;
}

std::vector<const OpSpec*> specs_of(const std::string& folder) {
  std::vector<const OpSpec*> result;
  for (const OpSpec& spec : op_specs())
    if (spec.folder == folder) result.push_back(&spec);
  return result;
}

/// Slots that the files of a folder bind, by kind of device.
std::map<DeviceType, std::set<std::string>> slots_of(const std::string& folder) {
  std::map<DeviceType, std::set<std::string>> result;
  for (const Binding& b : bindings())
    if (b.file.find("ops/" + folder + "/") != std::string::npos) result[b.device].insert(b.slot);
  return result;
}

/// The function declarations of a header without a comment: neither "///" right above (the rest of a template's head
/// may stand between) nor "///<" behind, nor behind or above another declaration of the same name (overloads; operators
/// are one name). Declarations start in the first column and name a type before the function's name; members are not
/// looked at, nor is namespace detail.
std::vector<std::string> uncommented_functions(const std::string& header) {
  static const std::regex declaration(
      R"(^((inline|constexpr|VITRINE_HD|\[\[\w+\]\]) )*[A-Za-z_][\w:<>, *&]*[ &*](operator(?=\W)|\w+(?=\()).*)");
  static const std::regex not_one(
      R"(^(using|namespace|struct|class|enum|return|typedef|static_assert|template|#)\b.*)");
  static const std::regex head(R"(^(template| |requires|\[\[).*)");
  std::vector<std::pair<std::string, std::string>> bare;  // name and line
  std::set<std::string> described;
  std::istringstream lines(header);
  bool comment = false;
  int depth = 0, hidden = INT_MAX;  // of braces; that outside of namespace detail
  for (std::string line; std::getline(lines, line);) {
    std::smatch match;
    if (line.rfind("namespace detail", 0) == 0) hidden = depth;
    if (line.rfind("///", 0) == 0) {
      comment = true;
    } else if (hidden == INT_MAX && std::regex_match(line, match, declaration) && !std::regex_match(line, not_one)) {
      if (comment || line.find("///<") != std::string::npos) {
        described.insert(match[3]);
      } else {
        bare.emplace_back(match[3], line);
      }
      comment = false;
    } else if (!std::regex_match(line, head)) {
      comment = false;
    }
    const std::string code = line.substr(0, line.find("//"));
    depth += int(std::count(code.begin(), code.end(), '{') - std::count(code.begin(), code.end(), '}'));
    if (depth <= hidden && code.find('}') != std::string::npos) hidden = INT_MAX;
  }
  std::vector<std::string> result;
  for (const auto& [name, line] : bare)
    if (!described.count(name)) result.push_back(line);
  return result;
}

std::string text_of(const fs::path& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST_CASE("every op folder has samples and error samples", "[unit]") {
  for (const std::string& folder : op_folders()) {
    INFO("ops/" << folder);
    CHECK_FALSE(specs_of(folder).empty());
    for (const OpSpec* spec : specs_of(folder)) {
      INFO("op " << spec->name);
      Maker maker(1);
      CHECK(bool(spec->samples));
      CHECK((spec->samples && !spec->samples(maker).empty()));
      CHECK(bool(spec->errors));
      CHECK((spec->errors && !spec->errors(maker).empty()));
      const auto samples = spec->samples(maker);
      const bool takes_tensors =
          std::any_of(samples.begin(), samples.end(), [](const Sample& s) { return !s.inputs.empty(); });
      if (spec->call && takes_tensors) CHECK_FALSE(spec->arguments.empty());
    }
  }
}

/// Where the values of ops without a definition in their spec are compared with ones written independently: folders.
const std::map<std::string, const char*> kDefinedElsewhere = {
    {"unary", "test_elementwise.cpp: the C library"},
    {"binary", "test_elementwise.cpp: the C library"},
    {"compare", "test_elementwise.cpp: the language's operators and truth tables"},
    {"relpos", "test_relpos.cpp: ids recorded from the equations"}};

TEST_CASE("every op has a definition that its values are compared with", "[unit]") {
  for (const std::string& folder : op_folders())
    for (const OpSpec* spec : specs_of(folder)) {
      INFO("op " << spec->name << " has neither .reference nor .values");
      CHECK((spec->reference || spec->values || kDefinedElsewhere.count(folder)));
      CHECK_FALSE((spec->reference && spec->values));
      CHECK((spec->call || !(spec->reference || spec->values)));
    }
}

TEST_CASE("op names are unique and samples have labels", "[unit]") {
  std::set<std::string> names;
  for (const OpSpec& spec : op_specs()) {
    INFO("op " << spec.name);
    CHECK(names.insert(spec.name).second);
    Maker maker(1);
    std::set<std::string> labels;
    for (const Sample& sample : spec.samples ? spec.samples(maker) : std::vector<Sample>()) {
      INFO("sample \"" << sample.label << "\"");
      CHECK_FALSE(sample.label.empty());
      CHECK(labels.insert(sample.label).second);
      CHECK((sample.tolerance_factor == 1 || !sample.reason.empty()));
      CHECK_FALSE(sample.dtypes.empty());
    }
  }
}

TEST_CASE("every op folder has kernels for each device", "[unit][emulated]") {
  for (const std::string& folder : op_folders()) {
    const auto specs = specs_of(folder);
    if (!specs.empty() && std::all_of(specs.begin(), specs.end(), [](const OpSpec* s) { return s->composite; }))
      continue;
    INFO("ops/" << folder);
    auto slots = slots_of(folder);
    CHECK_FALSE(slots[DeviceType::cpu].empty());
    for (DeviceType device : {DeviceType::emulated, DeviceType::cuda}) {
      if (device == DeviceType::cuda && slots[device].empty()) continue;  // a build without CUDA
      for (const std::string& slot : slots[DeviceType::cpu]) {
        INFO("kernel " << slot << " on " << name_of(device));
        CHECK(slots[device].count(slot) == 1);
      }
      for (const std::string& slot : slots[device]) {
        INFO("kernel " << slot << " on cpu");
        CHECK(slots[DeviceType::cpu].count(slot) == 1);
      }
    }
  }
}

TEST_CASE("every public function has a comment", "[unit]") {
  const fs::path root = VITRINE_SOURCE_DIR;
  static const std::regex is_private(".*_(kernels|cuda|cpu)\\.h");
  size_t headers = 0;
  for (const char* layer : {"core", "ops", "nn", "models", "data"})
    for (const auto& entry : fs::recursive_directory_iterator(root / layer)) {
      const std::string file = fs::relative(entry.path(), root).string();
      // What kernels are made of is described by core/cuda/README.md.
      if (entry.path().extension() != ".h" || std::regex_match(file, is_private) || file.rfind("core/cuda/", 0) == 0)
        continue;
      ++headers;
      for (const std::string& line : uncommented_functions(text_of(entry.path())))
        FAIL_CHECK(file << ": no /// comment on " << line);
    }
  CHECK(headers > 100);
}

TEST_CASE("the search for uncommented functions finds them", "[unit]") {
  CHECK(uncommented_functions("namespace a {\nTensor f(const Tensor& x);\n}").size() == 1);
  CHECK(uncommented_functions("/// f\nTensor f(const Tensor& x);\n\nstd::array<Tensor, 2> g(int64_t n,\n").size() == 1);
  CHECK(uncommented_functions("inline Tensor f(const Tensor& x) {\n  return x;\n}\n").size() == 1);
  CHECK(uncommented_functions("/// f\nTensor f(int a);\nTensor g(int a);\n[[nodiscard]] int h();\n").size() == 2);
  CHECK(uncommented_functions("/// A\nstruct A {\n};\nTensor f(A a);\n").size() == 1);
  CHECK(uncommented_functions("/// A\nusing A = int;\nTensor f(A a);\n").size() == 1);
  CHECK(uncommented_functions("namespace detail {\nstruct A;\n}\nTensor f(int a);\n").size() == 1);
  CHECK(uncommented_functions("Tensor operator+(A a);\nTensor operator-(A a);\n").size() == 2);
  CHECK(uncommented_functions("/// both\nTensor f(int a);\nTensor f(double a);\n").empty());
  CHECK(uncommented_functions("/// f\ntemplate <class T>\nTensor f(T a);\nTensor g(int a);  ///< g\n").empty());
  CHECK(uncommented_functions("/// both\nTensor operator+(A a);\nTensor operator-(A a);\n").empty());
  CHECK(uncommented_functions("namespace detail {\ninline int f(int a) {\n  return a;\n}\nint g();\n}\n").empty());
}

}  // namespace
}  // namespace vitrine::testing
