// Watches the queue: every 30 seconds, with a warning when it is deep or the slots are nearly used up.
const axios = require('axios');

const API_KEY = process.env.API_KEY;
const BASE_URL = 'https://api.cloro.dev';

async function checkQueueStatus() {
  try {
    const response = await axios.get(`${BASE_URL}/v1/async/status`, {
      headers: { Authorization: `Bearer ${API_KEY}` },
    });
    const { queuedTasks, processingTasks, concurrency } = response.data;

    console.log(`Queued: ${queuedTasks}`);
    console.log(`Processing: ${processingTasks}`);
    if (concurrency) {
      console.log(`Slots: ${concurrency.used}/${concurrency.max}, available: ${concurrency.max - concurrency.used}`);
    }
    if (queuedTasks > 100) {
      console.warn('Warning: high queue depth');
    }
    if (concurrency && concurrency.used / concurrency.max > 0.8) {
      console.warn('Warning: concurrency nearly used up');
    }
    return response.data;
  } catch (error) {
    console.error('Cannot check the queue:', error.message);
    throw error;
  }
}

setInterval(checkQueueStatus, 30000);
