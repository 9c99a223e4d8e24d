// May more work be started now? Nothing guards against `concurrency` being null.
const axios = require('axios');

async function isNearCapacity() {
  const { data: stats } = await axios.get('https://api.cloro.dev/v1/async/status', {
    headers: { Authorization: `Bearer ${process.env.API_KEY}` },
  });
  return stats.concurrency.used >= stats.concurrency.max * 0.9;
}

isNearCapacity().then((near) => console.log(near ? 'near capacity' : 'room'));
