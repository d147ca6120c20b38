/* Toy models trained side by side, for WebAssembly: no library, no imports, no threads.

   Every vector has four lanes, in GCC's vector extension: with simd128 a vector is one instruction, without it
   the compiler writes four. Either way an operation is one of IEEE's and in the same order, so both builds
   give the same bits.

   Many models: a lane is a model, and all models see the same inputs. One model: a lane is an input, and the
   weights are the same in all four. The dense arithmetic is one function for both, and for lines
   (toylib/engines/strata.py); only where the sparse inputs enter and leave do they differ.

   What is computed is what toylib's engines compute, from the inputs that toylib/draws.py draws, bit for bit. */

typedef unsigned long long u64;
typedef float V __attribute__((vector_size(16)));
typedef int M __attribute__((vector_size(16))); /* a mask: all bits of a lane, or none */
#define EXPORT(name) __attribute__((export_name(#name)))
#define INLINE static inline __attribute__((always_inline))

enum { NMAX = 20, MMAX = 20, BMAX = 512, GMAX = 16, ROWS = 2 * NMAX * MMAX + NMAX, FOUR = 4 };
enum { TOGETHER = 1, APART = 2 };                   /* kinds of units, as toylib/draws.py has them; 0: alone */
enum { REST = 2 };                                  /* rows of `given` in toylib/draws.py; 1: some are active */

static int n, m, batch_size, groups, untied, hidden_relu, absolute, is_signed, one_model, rows;
static int n_units, independent, given, n_lines;
static int total_steps, done, warmup;
static double base_lr, empty_weight, sampled, first_revival, power1, power2;
static const double beta1 = 0.9, beta2 = 0.999, eps = 1e-10;
static u64 state;

static double probability[NMAX], cdf[NMAX], now[NMAX];
static u64 threshold[NMAX], cdf_threshold[NMAX];
static int kind[NMAX], first_member[NMAX + 1], members[NMAX];
static int line_of[2 * NMAX];
static float line_sign[2 * NMAX], line_weight[2 * NMAX];

static int start[BMAX + 1], idx[BMAX * NMAX + 1];
static float val[BMAX * NMAX + 1];
static V P[GMAX][ROWS], G[GMAX][ROWS], M1[GMAX][ROWS], M2[GMAX][ROWS], importance[NMAX], loss_now[GMAX];
static double total[GMAX * 4];
/* four vectors of inputs: hidden units, their gradients, targets, weights of lines */
static V H[MMAX * FOUR], GH[MMAX * FOUR], T[NMAX * FOUR], LW[FOUR];

INLINE V splat(float x) { return (V){x, x, x, x}; }
INLINE V pick(M mask, V a, V b) { return (V)((mask & (M)a) | (~mask & (M)b)); }
INLINE V positive(V a) { return (V)((a > splat(0)) & (M)a); }
INLINE V magnitude(V a) { return (V)((M)a & 0x7fffffff); }

/* --- inputs: toylib/draws.py, bit for bit ----------------------------------------------------------------- */

#define STEP 0x9E3779B97F4A7C15ull
INLINE u64 mix(u64 z) { /* the output function of SplitMix64 */
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}
INLINE double unit_interval(u64 bits) { return (double)(long long)bits * 0x1p-53; }
INLINE double uniform(u64 *at) { return unit_interval(mix(*at += STEP) >> 11); }
INLINE float value_of(double u) { return is_signed ? (float)(2.0 * u - 1.0) : (float)u; }

EXPORT(new_stream) void new_stream(double seed, double purpose) {
  state = mix(mix((u64)seed + STEP) + (u64)purpose);
}

/* the first active unit; and where one feature alone will not do, the second: -1 if none is asked for */
INLINE int first_two(u64 *at, int *second) {
  int first = 0;
  *second = -1;
  u64 z = mix(*at += STEP) >> 11;
  for (int u = 0; u < n_units - 1; u++) first += z >= cdf_threshold[u]; /* no branch: the cdf rises */
  if (given == REST && (kind[first] != TOGETHER || first_member[first + 1] - first_member[first] == 1)) {
    double u = uniform(at);
    int s = first + 1;
    for (; s < n_units - 1 && u >= now[s]; s++) u = (u - now[s]) / (1.0 - now[s]);
    *second = s;
  }
  return first;
}

static void draw_independent(void) {
  static double divisor[BMAX * NMAX + 1];
  static u64 bits[BMAX * NMAX + 1];
  u64 at = state;
  int k = 0;
  for (int b = 0; b < batch_size; b++) {
    int second, unit = first_two(&at, &second);
    start[b] = k;
    bits[k] = mix(at += STEP) >> 11; /* known to be active: its uniform is its value */
    idx[k] = members[unit++];
    divisor[k++] = 1;
    if (second >= 0) {
      bits[k] = mix(at += STEP) >> 11;
      idx[k] = members[second];
      divisor[k++] = 1;
      unit = second + 1;
    }
    for (; unit < n_units; unit++) { /* whether: whole numbers, and no branch */
      u64 z = mix(at += STEP) >> 11;
      bits[k] = z;
      idx[k] = members[unit];
      divisor[k] = probability[unit];
      k += z < threshold[unit];
    }
  }
  start[batch_size] = k;
  state = at;
  for (int c = 0; c < k; c++) val[c] = value_of(unit_interval(bits[c]) / divisor[c]); /* how much */
}

static void draw_sets(void) {
  u64 at = state;
  int k = 0;
  for (int b = 0; b < batch_size; b++) {
    int second, first = first_two(&at, &second);
    start[b] = k;
    for (int unit = first; unit < n_units; unit++) {
      if (first < unit && unit < second) continue;
      double u = uniform(&at);
      if (unit > first && unit != second) {
        if (u >= probability[unit]) continue;
        u /= probability[unit];
      }
      int low = first_member[unit], high = first_member[unit + 1];
      if (kind[unit] == APART) {
        u *= high - low;
        int chosen = (int)u < high - low - 1 ? (int)u : high - low - 1;
        idx[k] = members[low + chosen];
        val[k++] = value_of(u - chosen);
      } else {
        for (int member = low; member < high; member++) {
          if (member > low) u = uniform(&at);
          idx[k] = members[member];
          val[k++] = value_of(u);
        }
      }
    }
  }
  start[batch_size] = k;
  state = at;
}

EXPORT(draw) void draw(void) {
  if (independent) draw_independent();
  else draw_sets();
}

/* --- loss and gradients ----------------------------------------------------------------------------------- */

typedef struct { V loss, by_a, by_b; } Along;

/* half of the mean of r^2 along a line, and of its slopes: toylib/engines/arithmetic.py, along_lines */
INLINE Along along(V a, V b, V t, V slope) {
  const V zero = splat(0), one = splat(1), half = splat(0.5f), third = splat(1.0f / 3);
  V end = -b / a;
  end = pick(end <= zero, zero, pick(end <= one, end, one)); /* 0 / 0 has none, and needs none */
  M shuts = a <= zero;
  V low = pick(shuts, zero, end), high = pick(shuts, pick(zero <= a, pick(b <= zero, zero, one), end), one);
  V c = a - t, low2 = low * low, high2 = high * high;
  V m0 = high - low, m1 = half * (high2 - low2), m2 = third * (high2 * high - low2 * low);
  V shut1 = half - m1, shut2 = third - m2, by_a = c * m2 + b * m1, by_b = c * m1 + b * m0;
  return (Along){c * by_a + (b * by_b + t * t * shut2), by_a - slope * t * shut2, by_b - slope * t * shut1};
}

/* four vectors of inputs (or of lines) at one feature, or two: outputs, residuals, gradients */
INLINE V outputs(const int m, int two, int lines, int learn, const V *w, const V *bias, const V *weight, const V *t, V *gw,
                 V *gb, V slope, V loss) {
  const V zero = splat(0);
  V r[2][FOUR];
  for (int f = 0; f <= two; f++)
    for (int k = 0; k < FOUR; k++) r[f][k] = lines ? zero : bias[f];
  for (int j = 0; j < m; j++)
    for (int f = 0; f <= two; f++)
      for (int k = 0; k < FOUR; k++) r[f][k] += w[f * m + j] * H[j * FOUR + k];
  for (int f = 0; f <= two; f++) {
    V sum = zero, squares = zero, twice = weight[f] + weight[f];
    if (lines) {
      for (int k = 0; k < FOUR; k++) {
        Along of = along(r[f][k], bias[f], t[f * FOUR + k], slope);
        V scaled = LW[k] * twice;
        squares += LW[k] * of.loss;
        r[f][k] = scaled * of.by_a;
        sum += scaled * of.by_b;
      }
    } else {
      for (int k = 0; k < FOUR; k++) {
        V o = r[f][k], d = positive(o) - t[f * FOUR + k];
        squares += d * d;
        d *= twice;
        r[f][k] = pick(o > zero, d, d * slope);
        sum += r[f][k];
      }
    }
    loss += weight[f] * squares;
    if (learn) gb[f] += sum;
  }
  if (!learn) return loss;
  for (int j = 0; j < m; j++) {
    V h0 = H[j * FOUR], h1 = H[j * FOUR + 1], h2 = H[j * FOUR + 2], h3 = H[j * FOUR + 3];
    for (int f = 0; f <= two; f++) gw[f * m + j] += (r[f][0] * h0 + r[f][1] * h1) + (r[f][2] * h2 + r[f][3] * h3);
    for (int k = 0; k < FOUR; k++) {
      V g = GH[j * FOUR + k];
      for (int f = 0; f <= two; f++) g += w[f * m + j] * r[f][k];
      GH[j * FOUR + k] = g;
    }
  }
  return loss;
}

/* from the hidden layer before its ReLU to the gradient there */
static void hidden(const int m, int g, int lines, int learn, V slope) {
  const V zero = splat(0), *w = P[g] + (untied ? n * m : 0), *b = P[g] + rows - n;
  V *gw = G[g] + (untied ? n * m : 0), *gb = G[g] + rows - n, loss = zero;
  if (hidden_relu)
    for (int q = 0; q < FOUR * m; q++) H[q] = positive(H[q]);
  for (int q = 0; q < FOUR * m; q++) GH[q] = zero;
  int i = 0;
  for (; i + 1 < n; i += 2)
    loss = outputs(m, 1, lines, learn, w + i * m, b + i, importance + i, T + i * FOUR, gw + i * m, gb + i, slope, loss);
  if (i < n)
    loss = outputs(m, 0, lines, learn, w + i * m, b + i, importance + i, T + i * FOUR, gw + i * m, gb + i, slope, loss);
  loss_now[g] += loss;
  if (hidden_relu)
    for (int q = 0; q < FOUR * m; q++) GH[q] = (V)((M)GH[q] & (H[q] > zero));
}

/* many models: a lane is a model, a vector an input */
static void of_models(const int m, int g, int learn, V slope) {
  for (int first = 0; first < batch_size; first += FOUR) {
    for (int k = 0; k < FOUR; k++) {
      V h[MMAX];
      for (int j = 0; j < m; j++) h[j] = splat(0);
      for (int a = start[first + k]; a < start[first + k + 1]; a++) {
        V v = splat(val[a]);
        const V *w = P[g] + idx[a] * m;
        T[idx[a] * FOUR + k] = absolute ? magnitude(v) : v;
        for (int j = 0; j < m; j++) h[j] += v * w[j];
      }
      for (int j = 0; j < m; j++) H[j * FOUR + k] = h[j];
    }
    hidden(m, g, 0, learn, slope);
    for (int k = 0; k < FOUR; k++)
      for (int a = start[first + k]; a < start[first + k + 1]; a++) {
        V v = splat(val[a]), *gw = G[g] + idx[a] * m;
        T[idx[a] * FOUR + k] = splat(0);
        if (learn)
          for (int j = 0; j < m; j++) gw[j] += v * GH[j * FOUR + k];
      }
  }
}

static void lines_of_models(const int m, int g, int learn, V slope) {
  for (int first = 0; first < n_lines; first += FOUR) {
    int here = n_lines - first < FOUR ? n_lines - first : FOUR;
    for (int k = 0; k < FOUR; k++) {
      int l = k < here ? first + k : first;
      LW[k] = splat(k < here ? line_weight[l] : 0);
      T[line_of[l] * FOUR + k] = splat(k < here ? (absolute ? 1 : line_sign[l]) : 0);
      for (int j = 0; j < m; j++) H[j * FOUR + k] = splat(line_sign[l]) * P[g][line_of[l] * m + j];
    }
    hidden(m, g, 1, learn, slope);
    for (int k = 0; k < here; k++) {
      int l = first + k;
      T[line_of[l] * FOUR + k] = splat(0);
      if (learn)
        for (int j = 0; j < m; j++) G[g][line_of[l] * m + j] += splat(line_sign[l]) * GH[j * FOUR + k];
    }
  }
}

/* one model: a lane is an input */
static float alone_in[NMAX * MMAX], alone_grad[NMAX * MMAX];

INLINE void of_inputs(const int m, int learn, V slope) {
  float *h16 = (float *)H, *gh16 = (float *)GH, *t16 = (float *)T;
  for (int first = 0; first < batch_size; first += 16) {
    for (int k = 0; k < 16; k++) {
      float h[MMAX];
      for (int j = 0; j < m; j++) h[j] = 0;
      for (int a = start[first + k]; a < start[first + k + 1]; a++) {
        float v = val[a];
        const float *w = alone_in + idx[a] * m;
        t16[idx[a] * 16 + k] = absolute ? __builtin_fabsf(v) : v;
        for (int j = 0; j < m; j++) h[j] += v * w[j];
      }
      for (int j = 0; j < m; j++) h16[j * 16 + k] = h[j];
    }
    hidden(m, 0, 0, learn, slope);
    for (int k = 0; k < 16; k++)
      for (int a = start[first + k]; a < start[first + k + 1]; a++) {
        float v = val[a], *gw = alone_grad + idx[a] * m;
        t16[idx[a] * 16 + k] = 0;
        if (learn)
          for (int j = 0; j < m; j++) gw[j] += v * gh16[j * 16 + k];
      }
  }
}

static void lines_of_inputs(const int m, int learn, V slope) {
  float *h16 = (float *)H, *gh16 = (float *)GH, *t16 = (float *)T, *lw16 = (float *)LW;
  for (int first = 0; first < n_lines; first += 16) {
    int here = n_lines - first < 16 ? n_lines - first : 16;
    for (int k = 0; k < 16; k++) {
      int l = k < here ? first + k : first;
      lw16[k] = k < here ? line_weight[l] : 0;
      t16[line_of[l] * 16 + k] = k < here ? (absolute ? 1 : line_sign[l]) : 0;
      for (int j = 0; j < m; j++) h16[j * 16 + k] = line_sign[l] * alone_in[line_of[l] * m + j];
    }
    hidden(m, 0, 1, learn, slope);
    for (int k = 0; k < here; k++) {
      int l = first + k;
      t16[line_of[l] * 16 + k] = 0;
      if (learn)
        for (int j = 0; j < m; j++) alone_grad[line_of[l] * m + j] += line_sign[l] * gh16[j * 16 + k];
    }
  }
}

INLINE V over_lanes(V a) {
  float sum = (a[0] + a[1]) + (a[2] + a[3]);
  return splat(sum);
}

static void scale_all(int g, int learn) { /* what sampled inputs stand for */
  V scale = splat((float)(sampled / batch_size));
  if (learn)
    for (int r = 0; r < rows; r++) G[g][r] *= scale;
  loss_now[g] *= scale;
}

/* one model's sparse sums and its lanes' come together; `scaled`: of its inputs so far, before its lines */
static void gather_one(int scaled, int learn) {
  float scale = scaled ? (float)(sampled / batch_size) : 1;
  loss_now[0] = over_lanes(loss_now[0]);
  if (!learn) return;
  for (int r = 0; r < rows; r++) G[0][r] = over_lanes(G[0][r]);
  for (int q = 0; q < n * m; q++) {
    G[0][q] += splat(alone_grad[q]) * splat(scale);
    alone_grad[q] = 0;
  }
}

/* loss, and gradients if they are wanted, of the inputs that are drawn, the lines and the empty input */
static void all_of_it(int learn, float slope1) {
  V slope = splat(slope1), empties = splat((float)empty_weight);
  if (one_model)
    for (int q = 0; q < n * m; q++) {
      alone_in[q] = P[0][q][0];
      alone_grad[q] = 0;
    }
  for (int g = 0; g < groups; g++) {
    loss_now[g] = splat(0);
    for (int r = 0; r < rows; r++) G[g][r] = splat(0);
    if (one_model) {
      if (m == 2) of_inputs(2, learn, slope); /* the lab's plane: straight code */
      else of_inputs(m, learn, slope);
      gather_one(0, learn);
    } else {
      of_models(m, g, learn, slope);
    }
    scale_all(g, learn);
    if (one_model && n_lines) { /* lanes hold the whole sum: a quarter each, that they add up */
      for (int r = 0; r < rows; r++) G[0][r] *= splat(0.25f);
      loss_now[0] *= splat(0.25f);
      lines_of_inputs(m, learn, slope);
      gather_one(0, learn);
    } else if (n_lines) {
      lines_of_models(m, g, learn, slope);
    }
    for (int i = 0; i < n; i++) { /* the empty input, counted exactly */
      V y = positive(P[g][rows - n + i]), e = empties * importance[i] * y;
      loss_now[g] += e * y;
      G[g][rows - n + i] += e + e;
    }
    for (int lane = 0; lane < 4; lane++) total[g * 4 + lane] += loss_now[g][lane];
  }
}

EXPORT(gradients) void gradients(float slope) { all_of_it(1, slope); }
EXPORT(losses) void losses(void) {
  draw();
  all_of_it(0, 0);
}

/* --- Adam along a cosine to 0 ----------------------------------------------------------------------------- */

static double cosine(double t) { /* cos(pi t) by its series: the same everywhere */
  int mirrored = t > 0.5;
  double x = 3.141592653589793 * (mirrored ? 1 - t : t), term = 1, sum = 1;
  for (int k = 2; k <= 24; k += 2) sum += term *= -(x * x) / (k * (k - 1));
  return mirrored ? -sum : sum;
}

INLINE V root_of(V a) { return (V){__builtin_sqrtf(a[0]), __builtin_sqrtf(a[1]), __builtin_sqrtf(a[2]), __builtin_sqrtf(a[3])}; }

static void adam(double lr) {
  V b1 = splat((float)beta1), b2 = splat((float)beta2), o1 = splat((float)(1 - beta1)), o2 = splat((float)(1 - beta2));
  V size = splat((float)(lr / (1 - power1))), root = splat((float)(1 / __builtin_sqrt(1 - power2)));
  V small = splat((float)eps), tiny = splat(1e-30f);
  for (int g = 0; g < groups; g++)
    for (int r = 0; r < rows; r++) {
      V d = G[g][r], a = b1 * M1[g][r] + o1 * d, s = b2 * M2[g][r] + o2 * (d * d);
      /* WebAssembly does not flush to zero: denormals would stay for ever, and cost ten times as much */
      a = (V)((M)a & (magnitude(a) > tiny));
      s = (V)((M)s & (s > tiny));
      M1[g][r] = a;
      M2[g][r] = s;
      P[g][r] -= size * a / (root_of(s) * root + small);
    }
}

EXPORT(steps) void steps(int count) {
  for (; count > 0 && done < total_steps; count--, done++) {
    double rise = done + 1 < warmup ? (double)(done + 1) / warmup : 1;
    double revival = first_revival * (1 - 2.0 * done / total_steps);
    draw();
    all_of_it(1, revival > 0 ? (float)revival : 0);
    power1 *= beta1;
    power2 *= beta2;
    adam(base_lr * rise * 0.5 * (1 + cosine((double)done / total_steps)));
  }
}

/* --- what the page says, and reads ------------------------------------------------------------------------ */

/* 0 for what does not fit. Batches are of 16 inputs or a multiple of them. */
EXPORT(setup) int setup(int n_, int m_, int batch, int models, int relu, int untied_, int absolute_, int signed_) {
  if (n_ < 1 || n_ > NMAX || m_ < 1 || m_ > MMAX || batch < 16 || batch % 16 || batch > BMAX) return 0;
  if (models < 1 || models > 4 * GMAX) return 0;
  n = n_, m = m_, batch_size = batch, hidden_relu = relu, untied = untied_, absolute = absolute_, is_signed = signed_;
  one_model = models == 1, groups = (models + 3) / 4, rows = n * m * (1 + untied) + n;
  done = 0, power1 = power2 = 1;
  for (int g = 0; g < GMAX; g++)
    for (int r = 0; r < ROWS; r++) P[g][r] = G[g][r] = M1[g][r] = M2[g][r] = splat(0);
  for (int q = 0; q < NMAX * FOUR; q++) T[q] = splat(0);
  return 1;
}
EXPORT(schedule) void schedule(int steps_, int warmup_, double lr, double revival) {
  total_steps = steps_, warmup = warmup_, base_lr = lr, first_revival = revival;
}
/* which inputs are drawn, the share that they stand for, the weight of the empty one; units and lines follow */
EXPORT(inputs) void inputs(int given_, int batch, double sampled_, double empty) {
  given = given_, batch_size = batch, sampled = sampled_, empty_weight = empty;
  n_units = n_lines = 0;
  first_member[0] = 0;
  independent = 1;
  for (int q = 0; q < GMAX * 4; q++) total[q] = 0;
}
static u64 below(double p) { /* u < p is bits < ceil(p 2^53), exactly */
  double t = p * 9007199254740992.0;
  u64 whole = (u64)t;
  return whole + ((double)whole < t);
}
EXPORT(unit) void unit(int kind_, double q, double first, double any) {
  int u = n_units++;
  kind[u] = kind_, probability[u] = q, cdf[u] = first, now[u] = q / any;
  threshold[u] = below(q), cdf_threshold[u] = below(first);
  first_member[u + 1] = first_member[u];
  independent &= kind_ == 0;
}
EXPORT(member) void member(int feature) { members[first_member[n_units]++] = feature; }
EXPORT(line) void line(int feature, float sign, float weight) {
  line_of[n_lines] = feature, line_sign[n_lines] = sign, line_weight[n_lines++] = weight;
}
EXPORT(weigh) void weigh(int feature, float weight) { importance[feature] = splat(weight); }
/* row r: weight i * m + j of W_in, then of W_out, then biases */
EXPORT(set_parameter) void set_parameter(int model, int r, float v) {
  if (one_model) P[0][r] = splat(v);
  else P[model >> 2][r][model & 3] = v;
}
EXPORT(parameter) float parameter(int model, int r) { return P[model >> 2][r][model & 3]; }
EXPORT(gradient) float gradient(int model, int r) { return G[model >> 2][r][model & 3]; }
EXPORT(loss) float loss(int model) { return loss_now[model >> 2][model & 3]; }
EXPORT(total_loss) double total_loss(int model) { return total[model]; }
EXPORT(n_active) int n_active(int input) { return start[input + 1] - start[input]; }
EXPORT(active_feature) int active_feature(int input, int k) { return idx[start[input] + k]; }
EXPORT(active_value) float active_value(int input, int k) { return val[start[input] + k]; }
